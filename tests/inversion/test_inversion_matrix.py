"""The support matrix is written row by row, goes on where it was, and survives slow models."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import arches
from arches import support
from arches.inversion import attempt, matrix
from arches.support import Row

CENSUS = (
    "name\tmodule\tkind\tparams_m\nbig\tfoo\tconv\t9\nsmall\tfoo\tconv\t1\nvit\tfoo\tisotropic\t0\n"
)


@pytest.fixture
def census(tmp_path: Path) -> Path:
    path = tmp_path / "census.tsv"
    path.write_text(CENSUS, encoding="utf-8")
    return path


def test_entries_come_smallest_first_and_the_hopeless_last(census: Path) -> None:
    found = matrix.entries(census, "timm/*")
    assert [entry.name for entry in found] == ["timm/small", "timm/big", "timm/vit"]
    kinds = {entry.name: entry.kind for entry in matrix.entries(census, "torchvision/*")}
    assert kinds["torchvision/vit_b_16"] == "isotropic"
    assert kinds["torchvision/resnet18"] == "conv"
    assert {entry.name for entry in matrix.entries(census, "[!t]*")} == set(arches.names())


def test_rows_of_a_model() -> None:
    plain, turned = attempt.attempt("torchvision/squeezenet1_1", "squeezenet", "conv", ["bu", "td"])
    assert plain.status == turned.status == support.OK
    assert (plain.parameters, plain.flops) == (1, 1)
    assert turned.flops is not None
    assert turned.flops > 1
    assert turned.image_size == 64


def test_the_papers_networks_have_rows_too() -> None:
    plain, turned = attempt.attempt("lenet_fc", "paper", "conv", ["bu", "td"])
    assert plain.cells()[4:] == ["ok", "", "64", "1", "1"]
    assert turned.status == support.OK
    assert turned.flops == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize("kind", ["isotropic", "conv"])
def test_one_resolution_is_refused_whoever_says_so(kind: str) -> None:
    """What the census calls isotropic is read without numbers, with the same answer."""
    found = attempt.attempt("timm/test_vit", "vision_transformer", kind, ["td", "bu", "td_rev"])
    assert [row.status for row in found] == ["unsupported", "ok", "unsupported"]
    assert {row.reason for row in found} == {
        "",
        "isotropic: one resolution only, nothing to invert.",
    }
    assert [row.is_final for row in found] == [True, False, True]


def test_what_memory_does_not_allow_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_args: object, **_options: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate ...")

    monkeypatch.setattr(attempt, "invert", no_room)
    [row] = attempt.attempt("timm/test_resnet", "resnet", "conv", ["td"])
    assert (row.status, row.short_reason) == (support.NOT_MEASURED, "memory")


def test_the_table_goes_on_where_it_was_and_ends_sorted(tmp_path: Path, census: Path) -> None:
    out = tmp_path / "support.csv"
    given = ["--out", str(out), "--names", "lenet_fc"]
    given += ["--census", str(census)]
    assert matrix.main([*given, "--variants", "td"]) == 0
    first = out.read_text(encoding="utf-8").splitlines()
    assert matrix.main([*given, "--variants", "bu", "td"]) == 0
    with out.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["variant"] for row in rows] == ["bu", "td"]
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert tuple(rows[0]) == support.COLUMNS
    assert out.read_text(encoding="utf-8").splitlines()[2] == first[1]  # not done again


def test_rows_are_tried_again_by_their_reason(tmp_path: Path, census: Path) -> None:
    out = tmp_path / "support.csv"
    head = ("lenet_fc", "paper", "conv")
    slow = Row(*head, "td", support.NOT_MEASURED, "time: not done in 1 s")
    kept = Row(*head, "td_uni", support.UNSUPPORTED, "width: no such width")
    support.append(out, [slow, kept])
    with out.open("a", encoding="utf-8") as stream:
        stream.write("lenet_fc,paper,conv,td_r")  # a process was ended while it wrote
    given = ["--out", str(out), "--names", "lenet_fc", "--census", str(census)]
    assert matrix.main([*given, "--retry", "time", "memory", "--variants", "td", "td_uni"]) == 0
    again, other = support.read(out)
    assert (again.variant, again.status, again.reason) == ("td", "ok", "")
    assert other == kept
    assert len(out.read_text(encoding="utf-8").splitlines()) == 3


def test_which_rows_are_tried_again() -> None:
    entry = matrix.Entry("timm/x", "x", "conv", 1.0)
    rows = [
        Row("timm/x", "x", "conv", "bu", support.OK, "", 64, 1.0, 1.0),
        Row("timm/x", "x", "conv", "td", support.NOT_MEASURED, "time: not done in 1 s"),
        Row("timm/x", "x", "conv", "td_uni", support.UNSUPPORTED, "width: no"),
    ]
    variants = list(arches.VARIANTS)
    assert matrix.left_to_do([entry], rows, variants) == [(entry, ["td_rev"])]
    assert matrix.left_to_do([entry], rows, variants, ["time"]) == [(entry, ["td", "td_rev"])]
    assert matrix.left_to_do([entry], rows, ["bu"], ["time", "width"]) == []
    assert matrix.left_to_do([entry], rows, variants, [""]) == [(entry, ["td", "td_uni", "td_rev"])]
    rows[0] = rows[0]._replace(parameters=None, flops=None)
    assert matrix.left_to_do([entry], rows, variants, ["no cost"]) == [(entry, ["bu", "td_rev"])]


def test_the_summary_counts_against_all_there_are(
    tmp_path: Path, census: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "support.csv"
    big, small = (("timm/" + name, "foo", "conv") for name in ("big", "small"))
    rows = [Row(*small, "td", support.OK), Row(*big, "td", support.NATIVE, "fixed size: x")]
    rows += [Row(*small, "td_uni", support.UNSUPPORTED, "width: x")]
    support.append(out, rows)
    before = out.read_bytes()
    given = ["--out", str(out), "--census", str(census), "--names", "timm/*", "--summary"]
    assert matrix.main(given) == 0
    lines = capsys.readouterr().out.splitlines()
    none = "0 + 0 (0.0 %)"
    assert lines[2] == f"| timm | conv | 2 | {none} | 1 + 1 (100.0 %) | {none} | {none} | 5 |"
    assert lines[3] == f"| timm | isotropic | 1 | {none} | {none} | {none} | {none} | 4 |"
    assert lines[-1] == "| width |  |  | 1 |  |"
    assert out.read_bytes() == before


@pytest.mark.slow
def test_what_takes_too_long_is_a_row(tmp_path: Path) -> None:
    entry = matrix.Entry("torchvision/vgg19", "vgg", "conv", 1.0)
    matrix.run(tmp_path / "t.csv", [(entry, ["td"])], seconds=0.01)
    [row] = support.read(tmp_path / "t.csv")
    assert (row.status, row.reason) == ("not measured", "time: not done in 0.01 s")


def test_variants_are_those_of_the_package() -> None:
    assert set(arches.VARIANTS) == {"bu", "td", "td_uni", "td_rev"}
