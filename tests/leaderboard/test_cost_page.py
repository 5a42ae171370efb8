"""The table of what networks cost beyond the board's columns, on the pages."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_pages import Reader, read_markdown

import leaderboard
from bench.measures import base
from leaderboard import Results, Row

Figures = dict[str, float]

SPEED = {
    "images_per_second": 515.4953,
    "images_per_second_iqr": 5.9079,
    "batch_size": 32.0,
    "latency": 12.88729,
    "latency_iqr": 0.23427,
}
TAILS = {"latency_p95": 0.18427, "latency_p99": 0.20486}


def made(**nets: Figures | dict[str, Figures]) -> Results:
    """Networks and their figures, or their figures by measure; all of seed 0."""
    rows = []
    for net, found in nets.items():
        for key, value in found.items():
            figures = value if isinstance(value, dict) else {key: value}
            measure = key if isinstance(value, dict) else "efficiency"
            rows += [Row("d", net, "bu", 0, measure, m, v, "") for m, v in figures.items()]
    return of(rows)


def of(rows: list[Row]) -> Results:
    infos = base.load("efficiency").metrics
    metrics = {(r.measure, r.metric): infos[r.metric] for r in rows if r.metric in infos}
    return Results("t", tuple(rows), metrics)


def section(results: Results, folder: Path) -> str:
    page = leaderboard.render_markdown(results, folder).read_text("utf-8").replace("\u00a0", " ")
    return page.partition("### Cost in detail")[2].partition("\n#")[0]


def table(results: Results, folder: Path) -> list[list[str]]:
    return read_markdown(section(results, folder)).lines


def test_timings_have_their_spread_and_tails(tmp_path: Path) -> None:
    fast = SPEED | {"latency": 0.158313, "latency_iqr": 0.002123} | TAILS
    head, slow, quick = table(made(slow=SPEED, fast=fast), tmp_path)
    assert head == [
        "Backbone", "Variant", "Latency [IQR] ↓ (ms)", "Latency, p95 / p99 ↓ (ms)",
        "Images/s at 32 [IQR] ↑",
    ]  # fmt: skip
    assert slow == ["slow", "bu", "12.89 [0.23]", "–", "515.5 [5.9]"]
    assert quick == ["fast", "bu", "0.158 [0.002]", "0.184 / 0.205", "515.5 [5.9]"]


def test_a_tail_that_nobody_has_is_no_column(tmp_path: Path) -> None:
    head, one = table(made(one=SPEED | {"latency_p95": 13.0}), tmp_path)
    assert head[3] == "Latency, p95 ↓ (ms)"
    assert one[3] == "13.00"


def test_further_batches_are_columns_by_their_size(tmp_path: Path) -> None:
    more = {
        f"{metric}[{name}]": value
        for name, speed in (("largest", 2_000.0), ("64", 1_505.0), ("8", 90.5))
        for metric, value in (("images_per_second", speed), ("images_per_second_iqr", speed / 10))
    }
    batches = {"batch_size[8]": 8.0, "batch_size[64]": 16.0, "batch_size[largest]": 512.0}
    head, one = table(made(one=SPEED | more | batches | {"largest_batch": 512.0}), tmp_path)
    assert head[3:] == [
        "Images/s at 32 [IQR] ↑", "Images/s at 8 [IQR] ↑", "Images/s at 64 [IQR] ↑",
        "Largest batch ↑", "Images/s at the largest [IQR] ↑",
    ]  # fmt: skip
    assert one[4:] == ["90.5 [9.1]", "1.5 k [150.5] at 16", "512", "2.0 k [200]"]
    text = section(made(one=SPEED | more | batches), tmp_path)
    assert "A figure of another batch than its column's says which (at 16)." in text
    assert "which (at 16)" not in section(made(one=SPEED), tmp_path)


def test_smaller_batches_than_asked_for_are_told(tmp_path: Path) -> None:
    memory = {
        "inference_memory": 2.0**20,
        "inference_batch_size": 32.0,
        "train_batch_size": 8.0,
        "train_memory_resident": 3 * 2.0**30,
        "inference_memory_resident": 2.0**21,
    }
    less = SPEED | memory | {"batch_size": 16.0, "asked_batch_size": 32.0}
    head, one = table(made(one=less), tmp_path)
    assert head[3:] == [
        "Images/s at 32 [IQR] ↑", "Inference memory ↓", "Resident memory, training / inference ↓",
    ]  # fmt: skip
    # The resident memory is not of the batch that tensors had to do with.
    assert one[3:] == ["515.5 [5.9] at 16", "1.0 MiB", "3.0 GiB / 2.0 MiB"]
    assert "Memory is of batches of 32." in section(made(one=less), tmp_path)


def test_two_images_where_the_statistics_of_a_batch_need_them_are_told(tmp_path: Path) -> None:
    two = {
        "inference_memory": 2.0**20,
        "inference_batch_size": 1.0,
        "train_batch_size": 2.0,
        "train_batch_size[resident]": 2.0,
        "inference_batch_size[resident]": 1.0,
        "train_memory_resident": 2.0**22,
        "inference_memory_resident": 2.0**21,
        "asked_batch_size": 1.0,
    }
    head, one = table(made(one=two), tmp_path)
    assert head[2:] == ["Inference memory ↓", "Resident memory, training / inference ↓"]
    assert one[2:] == ["1.0 MiB", "4.0 MiB at 2 / 2.0 MiB"]


def test_figures_of_a_gpu(tmp_path: Path) -> None:
    gpu = {
        "train_memory_allocated": 2.0**30,
        "train_memory_reserved": 2.0**31,
        "train_batch_size[allocated]": 16.0,
        "inference_memory_allocated": 2.0**20,
        "inference_memory_reserved": 2.0**21,
        "inference_batch_size[allocated]": 32.0,
        "energy_per_image": 0.0123456,
    }
    head, one = table(made(one=SPEED | gpu), tmp_path)
    assert head[4:] == [
        "Allocated memory, training / inference ↓", "Reserved memory, training / inference ↓",
        "Energy ↓ (J per image)",
    ]  # fmt: skip
    assert one[4:] == ["1.0 GiB at 16 / 1.0 MiB", "2.0 GiB at 16 / 2.0 MiB", "0.0123"]


def test_modes_are_lines(tmp_path: Path) -> None:
    modes = {"efficiency": SPEED, "efficiency/bf16+channels_last": SPEED | {"latency": 9.0}}
    counts = {"efficiency": {"parameters": 1.0}}
    head, *lines = table(made(one=modes, two=modes, none=counts), tmp_path)
    assert head[:3] == ["Backbone", "Variant", "Mode"]
    assert [line[:4] for line in lines] == [
        [net, "bu", mode, latency]
        for net in ("one", "two")
        for mode, latency in (("fp32", "12.89 [0.23]"), ("bf16+channels_last", "9.00 [0.23]"))
    ]


def test_seeds_are_told_where_there_are_several(tmp_path: Path) -> None:
    rows = [Row("d", "one", "bu", s, "efficiency", "latency", 2.0 + s, "") for s in (0, 1)]
    rows += [Row("d", "one", "bu", 1, "efficiency", "latency_p95", 7.0, "")]
    head, one = table(of(rows), tmp_path)
    assert head[2:] == ["Seeds (n)", "Latency ↓ (ms)", "Latency, p95 ↓ (ms)"]
    assert one[2:] == ["2", "2.50 ± 0.71", "7.00 (n = 1)"]


@pytest.mark.parametrize(
    "figures",
    [{"parameters": 1.0, "flops": 2.0}, {"images_per_second": 3.0}, {"kept_bytes[depth 1]": 4.0}],
)
def test_what_the_board_has_needs_no_table(figures: Figures, tmp_path: Path) -> None:
    assert section(made(one=figures, two=figures), tmp_path) == ""


def test_a_table_that_is_too_wide_is_cut(tmp_path: Path) -> None:
    memory = {"inference_memory": 2.0**20, "energy_per_image": 0.5}
    more = {f"images_per_second[{batch}]": 10.0 * batch for batch in (1, 2, 4)}
    assert len(table(made(one=SPEED | {"latency_p95": 1.0} | more), tmp_path)) == 2, "six columns"
    lines = table(made(one=SPEED | more | memory, two=SPEED), tmp_path)
    assert [line[0] for line in lines] == ["Backbone", "one", "two"] * 2
    assert lines[3][2:] == ["Inference memory ↓", "Energy ↓ (J per image)"]
    many = {f"images_per_second[{batch}]": 10.0 * batch for batch in (1, 2, 4, 8, 16, 64, 128)}
    heads = [line for line in table(made(one=SPEED | many), tmp_path) if line[0] == "Backbone"]
    assert [len(head) for head in heads] == [6, 7]


def test_nothing_in_it_is_bold_and_html_says_the_same(tmp_path: Path) -> None:
    results = made(one=SPEED, two=SPEED | {"latency": 1.0, "latency_p95": 2.0})
    assert "**" not in section(results, tmp_path)
    text = leaderboard.render_html(results, tmp_path / "x.html").read_text("utf-8")
    own = text.partition("<h3>Cost in detail</h3>")[2].partition("</section>")[0]
    assert [[cell.replace("\u00a0", " ") for cell in line] for line in Reader(own).lines] == table(
        results, tmp_path
    )
    assert "best" not in own
