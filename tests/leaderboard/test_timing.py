"""What a board says of its timings."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

import leaderboard
from bench.measures import base
from leaderboard import MetricInfo, Results, Row
from leaderboard.numbers.batches import OTHER_BATCH, cost_notes
from leaderboard.numbers.board import sections
from leaderboard.numbers.doubts import doubts_between
from leaderboard.numbers.summary import Key
from leaderboard.numbers.timing import BUSY


def made(**values: dict[str, float]) -> Results:
    """A net for each keyword, with two seeds; the second is a little larger."""
    rows = [
        Row("d", net, "bu", seed, "efficiency", metric, value * (1 + seed / 10), "")
        for net, metrics in values.items()
        for metric, value in metrics.items()
        for seed in (0, 1)
    ]
    info = MetricInfo("images/s", "images/s", "higher", headline=True)
    return Results("t", tuple(rows), {("efficiency", "images_per_second"): info})


QUIET = {"images_per_second": 10.0, "other_load": 5.0, "batch_size": 1.0}


def test_a_quiet_machine_is_not_mentioned() -> None:
    assert cost_notes(made(one=QUIET, two=QUIET), "d") == []


def test_a_busy_machine_is() -> None:
    results = made(one=QUIET, two=QUIET | {"other_load": 40.0})
    (note,) = cost_notes(results, "d")
    assert "more than 10 % of the processors' time" in note
    assert "of that moment: two bu (44 %). They are not bold" in note
    assert cost_notes(results, "another") == []
    edge = BUSY / 1.1  # of the larger seed
    assert cost_notes(made(one=QUIET | {"other_load": edge}), "d") == []
    assert cost_notes(made(one=QUIET | {"other_load": edge + 0.1}), "d")


def test_what_was_timed_on_a_busy_machine_is_not_bold() -> None:
    def best(**loads: float) -> list[bool]:
        speeds = {"one": 10.0, "two": 200.0}
        made_of = {
            net: QUIET | {"images_per_second": speed, "other_load": loads.get(net, 0.0)}
            for net, speed in speeds.items()
        }
        (section,) = sections(made(**made_of))
        return [line.cells[0].best for line in section.tables[0].lines]

    assert best() == best(one=90.0) == [False, True]
    assert best(two=90.0) == [False, False]  # nor is the slower one the best for that


def test_others_on_the_gpu_are() -> None:
    (note,) = cost_notes(made(one=QUIET | {"other_gpu_processes": 1.0}), "d")
    assert note.startswith("Busy GPU")


ONE, TWO = "AMD EPYC, 2 cores; 24 GiB", "Intel Xeon, 4 cores; 8 GiB"


def placed(**places: tuple[str, ...]) -> Results:
    """Networks and what they were timed on; the last is the fastest."""
    speeds = {net: QUIET | {"images_per_second": 10.0**n} for n, net in enumerate(places)}
    timed_on = {("d", net, "bu"): names for net, names in places.items()}
    return replace(made(**speeds), timed_on=timed_on)


def test_speeds_on_different_hardware_are_told_and_not_bold() -> None:
    results = placed(one=(ONE,), two=(TWO,), three=(ONE, TWO))
    (note,) = cost_notes(results, "d")
    assert note.startswith("Different hardware: images/s, latency and energy compare only between")
    assert f"On {ONE}: one bu, three bu; on {TWO}: two bu, three bu. They are not bold" in note
    assert cost_notes(results, "another") == []
    (section,) = sections(results)
    assert not any(line.cells[0].best for line in section.tables[0].lines)
    same = placed(one=(ONE,), two=(ONE,))
    assert cost_notes(same, "d") == []
    (section,) = sections(same)
    assert [line.cells[0].best for line in section.tables[0].lines] == [False, True]


def test_verdicts_across_hardware_say_so() -> None:
    results = placed(one=(ONE,), two=(TWO,), three=(TWO,), both=(ONE, TWO))

    def found(*nets: str, metric: str = "images_per_second") -> tuple[str, ...]:
        return doubts_between(results, [Key("d", n, "bu", "efficiency", metric) for n in nets])

    assert found("one", "two") == found("both", "both") == ("timed on different hardware",)
    assert found("one", "two", metric="latency_p95") == found("one", "two")
    assert found("one", "two", metric="images_per_second[64]") == found("one", "two")
    assert found("two", "three") == found("one", "two", metric="flops") == ()


def test_smaller_batches_are() -> None:
    results = made(one=QUIET | {"batch_size": 128.0}, two=QUIET | {"batch_size": 32.0})
    (note,) = cost_notes(results, "d")
    assert "batches of 128" in note
    assert "two bu (32)" in note


def test_many_networks_are_not_all_named() -> None:
    nets = {f"net{number}": QUIET | {"other_load": 50.0} for number in range(9)}
    (note,) = cost_notes(made(**nets), "d")
    assert "net5 bu (55 %) and 3 more" in note
    assert "net6" not in note


def test_every_page_says_so(tmp_path: Path) -> None:
    results = made(one=QUIET | {"other_load": 40.0})
    page = leaderboard.render_markdown(results, tmp_path).read_text(encoding="utf-8")
    assert "- Busy machine: other programs" in page
    html = leaderboard.render_html(results, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<li>Busy machine" in html
    stream = io.StringIO()
    Console(width=300, file=stream).print(leaderboard.terminal_table(results))
    assert "note  Busy machine" in stream.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_the_terminal_names_every_network_that_the_page_names(width: int) -> None:
    nets = [f"timm/mobilenetv3_small_{number:03}" for number in range(6)]
    results = made(**{net: QUIET | {"other_load": 40.0} for net in nets})
    (note,) = cost_notes(results, "d")
    stream = io.StringIO()
    Console(width=width, file=stream).print(leaderboard.terminal_table(results))
    assert f"note {note}" in " ".join(stream.getvalue().split())


MODES = ("efficiency", "efficiency/bf16+channels_last", "efficiency/compile")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_columns_of_several_modes(count: int) -> None:
    """Counts once, then what each mode has of its own; a table that fits a page."""
    infos = base.load("efficiency").metrics
    found = {
        MODES[0]: ("parameters", "flops", "macs", "train_memory", "images_per_second", "latency"),
        MODES[1]: ("train_memory", "images_per_second", "latency"),
        MODES[2]: ("images_per_second", "latency"),
    }
    rows = [
        Row("d", "net", "bu", 0, measure, metric, 1.0, "")
        for measure in MODES[:count]
        for metric in found[measure]
    ]
    metrics = {(row.measure, row.metric): infos[row.metric] for row in rows}
    (section,) = sections(Results("t", tuple(rows), metrics))
    (table,) = section.tables
    headings = [column.heading for column in table.columns]
    assert headings == [
        *("Parameters ↓", "FLOPs ↓ (per image)", "Training memory ↓", "Images/s ↑"),
        *["Bf16+channels last: training memory ↓", "Bf16+channels last: images/s ↑"][
            : 2 * (count > 1)
        ],
        *["Compile: images/s ↑"][: count > 2],
    ]


def test_training_memory_of_fewer_images_is_told() -> None:
    """A figure that looks better because memory ran out."""
    results = made(one=QUIET | {"train_batch_size": 100.0}, two=QUIET | {"train_batch_size": 200.0})
    (note,) = cost_notes(results, "d")
    assert note == (
        "Training memory is of batches of 200, but where that did not fit into memory: "
        "one bu (100). They are not bold, and verdicts on them say so."
    )
    same = QUIET | {"train_batch_size": 100.0}
    assert cost_notes(made(one=same, two=same), "d") == []


def test_fewer_images_in_all_networks_are_told() -> None:
    """The page says of how many images figures are to be."""
    half = {"batch_size": 128.0, "train_batch_size": 64.0, "asked_batch_size": 128.0}
    (note,) = cost_notes(made(one=half, two=half), "d")
    assert note == (
        "Training memory is of batches of 128, but where that did not fit into memory: "
        "one bu (64), two bu (64)."
    )


def test_two_images_where_one_was_asked_for_are_no_want_of_memory() -> None:
    one = {"batch_size": 1.0, "train_batch_size": 1.0}
    two = {"batch_size": 1.0, "train_batch_size": 2.0, "asked_batch_size": 1.0}
    (note,) = cost_notes(made(one=one, two=two), "d")
    assert note == (
        "Training memory is of batches of 1, but where the statistics of a batch need more: "
        "two bu (2). They are not bold, and verdicts on them say so."
    )


@pytest.mark.parametrize(
    ("asked", "batches", "best"),
    [
        (128.0, (32.0, 128.0), [False, True]),
        (128.0, (128.0, 32.0), [False, False]),  # nor is the other one the best for that
        (128.0, (64.0, 64.0), [False, True]),
        (128.0, (64.0, 32.0), [False, False]),
        (1.0, (1.0, 2.0), [False, False]),
    ],
)
def test_a_figure_of_another_batch_is_not_the_best(
    asked: float, batches: tuple[float, float], best: list[bool]
) -> None:
    """Fewer images need less memory."""
    slow, fast = (
        QUIET | {"images_per_second": speed, "batch_size": batch, "asked_batch_size": asked}
        for speed, batch in zip((10.0, 1000.0), batches, strict=True)
    )
    results = made(slow=slow, fast=fast)
    (section,) = sections(results)
    assert [line.cells[0].best for line in section.tables[0].lines] == best
    keys = [Key("d", net, "bu", "efficiency", "images_per_second") for net in ("slow", "fast")]
    differ = batches[0] != batches[1]
    assert doubts_between(results, keys) == ((OTHER_BATCH,) if differ else ())
