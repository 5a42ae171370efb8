"""Every kind of damage is told in one line, never shows as a number, and is mended by doing the
cells again: the table is then that of the run before."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from corruptions import KINDS, Kind

from bench.cli import main

SUITE = """\
name: whole
seeds: [0]
datasets: [{name: fashion-mnist-mini, train_samples: 100, test_samples: 40}]
backbones: [lenet_fc]
variants: [bu, td]
recipe: {epochs: 1, batch_size: 20, lr: 0.05, bn_momentum: 0.1}
measures:
  - accuracy
  - robustness:
      samples: 20
      repeats: 1
      attacks: [{name: gaussian_blur, epsilons: 20}, {name: contrast_reduction, epsilons: 20}]
"""
Rows = set[tuple[str, ...]]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite and its finished run."""
    folder = tmp_path_factory.mktemp("healthy")
    (folder / "suite.yaml").write_text(SUITE, encoding="utf-8")
    assert main(["run", str(folder / "suite.yaml"), "--out", str(folder / "run"), "--quiet"]) == 0
    return folder


@pytest.fixture
def folder(healthy: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(healthy, tmp_path / "copy")
    yield tmp_path / "copy"
    shutil.rmtree(tmp_path)


def bench(*words: object) -> int:
    return main(list(map(str, words)))


def table(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as stream:
        return {tuple(row.values()) for row in csv.DictReader(stream)}


@cache
def expected(healthy: Path) -> Rows:
    assert bench("report", healthy / "run", "--format", "csv", "--out", healthy / "all.csv") == 0
    return table(healthy / "all.csv")


def test_a_run_that_is_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for words in ([], ["--repair"], []):
        assert bench("doctor", folder / "run", *words) == 0
        assert capsys.readouterr().out == f"{folder / 'run'}: whole\n"


def test_there_are_enough_kinds() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 20


@pytest.mark.parametrize("format", ["csv", "derived", "json"])
def test_what_other_programs_read_tells_of_a_damaged_file_too(
    folder: Path, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / f"out.{format}"
    words = ("report", folder / "run", "--format", format, "--out", out)
    capsys.readouterr()
    assert bench(*words) == 0
    assert capsys.readouterr().err == ""
    if format == "json":
        assert json.loads(out.read_text(encoding="utf-8"))["damaged"] == []
    file = next((folder / "run/arrays").iterdir())
    file.write_bytes(file.read_bytes()[:-1])
    assert bench(*words) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: fashion-mnist-mini/lenet_fc/")
    assert file.name in line
    if format == "json":
        (said,) = json.loads(out.read_text(encoding="utf-8"))["damaged"]
        assert line == f"note: {said}"


each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
# One of each sort: a file, a row, the whole database.
QUICK = ("bit flip in an array", "flipped digit in a metric", "zeroed page")
some_quick = pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=[] if k.name in QUICK else [pytest.mark.slow]) for k in KINDS],
    ids=lambda kind: kind.name,
)


@each_kind
def test_damage_is_told_and_no_number_is_wrong(
    kind: Kind, folder: Path, healthy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, run = expected(healthy), folder / "run"
    kind.damage(run)
    capsys.readouterr()
    assert bench("doctor", run) == (0 if kind.harmless else 1)
    told = capsys.readouterr().out.splitlines()
    word = "note" if kind.harmless else "DAMAGE"
    assert [line for line in told if re.search(f"^{word} .*{kind.said}", line)], told
    assert_reported(run, "csv", whole, capsys)


@pytest.mark.parametrize(
    "kind", [k for k in KINDS if "what is recorded" in k.said], ids=lambda kind: kind.name
)
def test_a_damaged_cell_is_named_on_the_page_and_costs_no_other(
    kind: Kind, folder: Path, healthy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, run = expected(healthy), folder / "run"
    kind.damage(run)
    capsys.readouterr()
    assert bench("report", run) == 0, capsys.readouterr().err
    name = kind.said.partition(":")[0]
    page = (run / "leaderboard.md").read_text(encoding="utf-8").replace("\\", "")
    assert re.search(f"{name} is left out: .*`bench doctor --repair`", page)
    assert bench("report", run, "--format", "csv", "--out", run / "out.csv") == 0
    net, _, measure = name.rpartition("/seed0/")
    others = {row for row in whole if not ("/".join(row[:3]) == net and row[4] == measure)}
    assert others <= table(run / "out.csv") <= whole
    assert bench("baseline", run, "--out", run / "b.json", "--partial") == 0
    assert bench("compare", run, healthy / "run") == 0


def test_without_the_record_of_a_session_the_gate_works(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, baseline = folder / "run", folder / "b.json"
    (kind,) = (kind for kind in KINDS if "the record of session" in kind.said)
    kind.damage(run)
    for _ in range(2):
        capsys.readouterr()
        assert bench("baseline", run, "--out", baseline) == 0, capsys.readouterr().err
        assert bench("check", run, "--baseline", baseline) == 0, capsys.readouterr().out
        assert bench("report", run) == 0
        assert bench("doctor", run, "--repair") == 0


@some_quick
def test_damage_is_mended(
    kind: Kind, folder: Path, healthy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, run = expected(healthy), folder / "run"
    kind.damage(run)
    assert_reported(run, "html", whole, capsys)
    assert bench("doctor", run, "--repair") == kind.lost
    capsys.readouterr()
    assert bench("doctor", run) == 0
    assert capsys.readouterr().out == f"{run}: whole\n"
    assert_reported(run, "csv", whole, capsys)
    assert bench("run", folder / "suite.yaml", "--out", run, "--quiet") == 0
    assert_whole(run, whole)


@some_quick
def test_the_next_run_carries_on_or_says_what_to_do(
    kind: Kind, folder: Path, healthy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a doctor before it."""
    whole, run = expected(healthy), folder / "run"
    kind.damage(run)
    capsys.readouterr()
    if bench("run", folder / "suite.yaml", "--out", run, "--quiet"):
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        assert "bench doctor" in error
        assert bench("doctor", run, "--repair") == kind.lost
        assert bench("run", folder / "suite.yaml", "--out", run, "--quiet") == 0
    assert_whole(run, whole)


def test_without_repair_nothing_is_said_to_be_done(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / "run"
    (run / "results.sqlite").write_bytes(b"")
    capsys.readouterr()
    before = sorted(run.rglob("*"))
    assert bench("doctor", run) == 1
    assert "; with --repair what is whole is saved into a new" in capsys.readouterr().out
    assert sorted(run.rglob("*")) == before
    assert bench("doctor", run, "--repair") == 1
    assert "; what is whole is saved into a new" in capsys.readouterr().out


def assert_reported(run: Path, form: str, whole: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    """A report, if there is one at all, has no number that was not measured."""
    capsys.readouterr()
    out = run.parent / "out"
    code = bench("report", run, "--format", form, "--out", out)
    if code:
        error = capsys.readouterr().err
        assert (code, error.count("\n")) == (2, 1), error
        assert str(run) in error
    elif form == "csv":
        assert table(out) <= whole


def assert_whole(run: Path, whole: Rows) -> None:
    out = run.parent / "out"
    assert bench("report", run, "--format", "csv", "--out", out) == 0
    assert table(out) == whole
