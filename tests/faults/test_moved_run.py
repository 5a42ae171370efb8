"""A run directory that is moved, or whose results file is deleted, while a run is at work there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
    assert "runs/tiny/results.sqlite: it or its folder was moved, replaced or deleted while" in said
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
