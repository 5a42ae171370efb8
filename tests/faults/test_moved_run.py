"""A run directory that is moved, or whose results file is deleted, while a run is at work there."""

from __future__ import annotations

import itertools
import os
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main

Tiny = Callable[..., Path]
Out = pytest.CaptureFixture[str]
RUN = Path("runs/tiny")
MEASURE = """
import os, shutil
from pathlib import Path

def tidies_up(context):
    if Path("armed").exists():
        {how}
    return {{"value": 1.0}}
"""
HOW = {
    "deleted results file": 'Path("runs/tiny/results.sqlite").unlink()',
    "deleted folder": 'shutil.rmtree("runs/tiny")',
    "moved folder": 'os.rename("runs/tiny", "runs/kept")',
    "replaced results file": (
        'shutil.copy("runs/tiny/results.sqlite", "copy"); '
        'os.replace("copy", "runs/tiny/results.sqlite")'
    ),
}


def armed(tiny: Tiny, how: str) -> str:
    suite = tiny(("  - accuracy\n", '  - accuracy\n  - "tidy:tidies_up"\n'))
    Path("tidy.py").write_text(MEASURE.format(how=HOW[how]), encoding="utf-8")
    Path("armed").touch()
    return str(suite)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("how", HOW)
def test_a_run_whose_results_file_goes_stops_and_says_so(
    how: str, workers: str, tiny: Tiny, capsys: Out
) -> None:
    suite = armed(tiny, how)
    assert main(["run", suite, "--quiet", "--workers", workers]) == 2
    said = capsys.readouterr().err
    # A file that was just being written may be the first to be missed.
    named = r"runs/tiny/\S+: it or its folder was moved, replaced or deleted while the run was at"
    assert re.search(named, said)
    assert "Traceback" not in said
    assert not (RUN / "leaderboard.md").exists()


def test_a_run_that_was_moved_goes_on_where_it_is_now(tiny: Tiny, capsys: Out) -> None:
    suite = armed(tiny, "moved folder")
    assert main(["run", suite, "--quiet"]) == 2
    assert not RUN.exists(), "nothing is written where nobody looks for it"
    Path("armed").unlink()
    capsys.readouterr()
    assert main(["run", suite, "--out", "runs/kept"]) == 0
    assert "2 of 4 cells to do" in capsys.readouterr().out
    assert main(["doctor", "runs/kept"]) == 0


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that gives a file another number whenever it is asked, as some network and
    user-space ones do after they have forgotten it."""
    numbers, stat = itertools.count(1), Path.stat

    def changing(path: Path, **how: Any) -> os.stat_result:
        found = stat(path, **how)
        if path.name != "results.sqlite":
            return found
        return os.stat_result((found.st_mode, next(numbers), *found[2:]))

    monkeypatch.setattr(Path, "stat", changing)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_file_system_whose_inodes_change_is_fine(
    workers: str, tiny: Tiny, restless: None, capsys: Out
) -> None:
    assert main(["run", str(tiny()), "--quiet", "--workers", workers]) == 0
    assert capsys.readouterr().err == ""
    assert main(["doctor", str(RUN)]) == 0
    with sqlite3.connect(RUN / "results.sqlite") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (0,), "nothing is left in it"
    db.close()


@pytest.mark.parametrize("how", HOW)
def test_there_too_a_run_whose_results_file_goes_stops(
    how: str, tiny: Tiny, restless: None, capsys: Out
) -> None:
    assert main(["run", armed(tiny, how), "--quiet"]) == 2
    assert "it or its folder was moved, replaced or deleted while" in capsys.readouterr().err
    if how == "replaced results file":
        assert main(["doctor", str(RUN)]) == 0, "nothing was written into the other one"


def test_a_file_beside_it_that_goes_is_named(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    """By somebody who makes room, just as it is written."""
    replace = Path.replace

    def gone(path: Path, target: Path) -> Path:
        if path.parent.name == "weights":
            path.unlink()
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", gone)
    assert main(["run", str(tiny()), "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("runs/tiny/weights/")
    assert line.endswith(
        ".safetensors.part: it or its folder was moved, replaced or deleted while the run was at "
        "work; what was finished is kept: run the same command again"
    )
