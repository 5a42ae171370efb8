"""Logs: what happened in a run, for people and programs, and never a reason to fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.observe.log import ROOM, RunLog, cell_log, lines
from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.run.events import CellProgress, CellStarted

Tiny = Callable[..., Path]
RUN = Path("runs/tiny")
MEASURES = """
import warnings
def warning(context):
    warnings.warn("look out")
    return {"value": 1}
def failing(context):
    raise ValueError("never works")
"""


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def own(name: str) -> list[dict[str, Any]]:
    """The log of a cell."""
    (identity,) = {
        line["identity"] for line in entries(RUN / "logs/run.jsonl") if line.get("cell") == name
    }
    return entries(RUN / cell_log(identity))


def events(found: list[dict[str, Any]]) -> list[str]:
    return [entry["event"] for entry in found]


def test_a_run_and_its_cells_have_logs(tiny: Tiny) -> None:
    assert main(["run", str(tiny()), "--quiet"]) == 0
    log = entries(RUN / "logs/run.jsonl")
    assert (log[0]["event"], log[0]["cells"], log[0]["suite"]) == ("session_started", 3, "tiny")
    assert log[-1]["event"] == "session_ended"
    assert events(log).count("cell_started") == events(log).count("cell_done") == 3
    training = own("blobs/linear/bu/seed0/train")
    assert training[0]["event"] == "cell_started"
    assert "epoch 2/2, loss" in [one for one in training if one["event"] == "progress"][-1]["text"]
    assert float(training[-1]["metrics"]["epochs"]) == 2
    attack = own("blobs/linear/bu/seed0/robustness/gaussian_blur")
    assert "part_finished" in events(attack)
    assert all("time" in entry for entry in [*log, *training, *attack])


def test_warnings_failures_and_where_to_look(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("logged_measures.py").write_text(MEASURES, encoding="utf-8")
    more = "  - accuracy\n  - 'logged_measures:warning'\n  - 'logged_measures:failing'\n"
    suite = str(tiny(("  - accuracy\n", more)))
    with pytest.warns(UserWarning, match="look out"):
        assert main(["run", suite, "--quiet"]) == 1
    warned = own("blobs/linear/bu/seed0/warning")
    assert "UserWarning: look out (logged_measures.py:4)" in [one.get("text") for one in warned]
    failed = own("blobs/linear/bu/seed0/failing")[-1]
    assert (failed["error"], failed["event"]) == ("ValueError", "cell_failed")
    assert "never works" in failed["traceback"]
    (told,) = (one for one in entries(RUN / "logs/run.jsonl") if one["event"] == "cell_failed")
    assert (RUN / told["log"]).is_file()
    assert f"({told['log']})" in capsys.readouterr().err


def test_verbose_says_what_happens(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tiny()), "--verbose"]) == 0
    out = capsys.readouterr().out
    assert "  blobs/linear/bu/seed0/train: starts\n" in out
    assert "  blobs/linear/bu/seed0/train: epoch 2/2, loss" in out
    assert "  blobs/linear/bu/seed0/robustness/gaussian_blur: finished part" in out
    with pytest.raises(SystemExit):
        main(["run", "suite.yaml", "--verbose", "--quiet"])


def test_a_log_that_cannot_be_written_is_no_reason_to_fail(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = str(tiny())
    assert main(["run", suite, "--quiet", "--only", "*/train"]) == 0
    for path in (RUN / "logs").iterdir():
        path.unlink()
    (RUN / "logs").rmdir()
    (RUN / "logs").write_text("in the way", encoding="utf-8")
    capsys.readouterr()
    assert main(["run", suite]) == 0
    assert capsys.readouterr().err.count("no log is written any more") == 1


def test_logs_stay_small(tiny: Tiny) -> None:
    cell = expand(read_suite(str(tiny()))).cells[0]
    with RunLog(Path(), 1) as log:
        log(CellStarted(cell))
        for number in range(10_000):
            log(CellProgress(cell, number / 10_000, "step"))
        log(CellProgress(cell, 1.0, "step"))
        path = Path(cell_log(cell.identity))
        assert len(entries(path)) <= 4
        path.write_text("x" * ROOM, encoding="utf-8")
        log(CellProgress(cell, 1.0, "step"))
        assert path.stat().st_size == ROOM


def test_a_half_written_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'{"event": "a"}\n[1]\n{"event": "b\xff\n{"ev')
    assert [entry["event"] for entry in lines(path)] == ["a"]
    assert list(lines(tmp_path / "none")) == []


def test_a_result_that_only_the_log_knows(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    from bench.store.database import Store

    suite = str(tiny())
    assert main(["run", suite, "--quiet"]) == 0
    store = Store.create_or_open(RUN)
    (identity,) = (
        row[0] for row in store.tuples("SELECT identity FROM cells WHERE name LIKE '%/accuracy'")
    )
    store.forget(identity)
    store.close()
    capsys.readouterr()
    assert main(["doctor", str(RUN)]) == 0
    assert (
        "seed0/accuracy: done, as the log tells, but its result is lost" in capsys.readouterr().out
    )
    assert main(["run", suite, "--quiet", "--fresh"]) == 0
    assert len(entries(RUN / "logs/run.jsonl")) == 8
