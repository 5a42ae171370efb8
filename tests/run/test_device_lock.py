"""Timings of different processes take turns on a device."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from bench import locks
from bench.cli import main
from bench.errors import BenchError
from bench.run.devices import lock as device_lock
from bench.run.devices.lock import alone_on, lock_file

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time, torch
from bench.run.devices.lock import alone_on
with alone_on(torch.device("cpu")):
    print("held", flush=True)
    time.sleep(float(sys.argv[1]))
    print("given back", flush=True)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of their own, lest a real run makes these tests wait."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


@contextmanager
def another_run(seconds: float) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", HOLD, str(seconds)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}  # a run of a test is in another folder
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.kill()


@pytest.fixture
def told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_QUIETLY", 0.2)


def test_whoever_comes_second_waits_and_is_told(
    capsys: pytest.CaptureFixture[str], told_soon: None
) -> None:
    with another_run(1.5) as other, alone_on(CPU):
        assert other.stdout is not None
        assert other.stdout.readline() == "given back\n"
    said = capsys.readouterr().err
    assert said.startswith("waiting for another run's timing on cpu (")
    assert len(said.splitlines()) == 1


def test_a_process_that_dies_holds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with another_run(600) as other:
        other.kill()
        other.wait()
        start = time.perf_counter()
        with alone_on(CPU):
            assert time.perf_counter() - start < 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("patience", [0.1, 0.4])
def test_patience_ends_with_a_line_that_says_what_to_do(patience: float, told_soon: None) -> None:
    said = pytest.raises(BenchError, match="another run has been timing on cpu")
    with another_run(600), said, alone_on(CPU, patience):
        pass


def test_the_lock_is_given_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="broken"), alone_on(CPU):
        raise ValueError("broken")
    with alone_on(CPU, patience=0.1):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    lock_file(CPU).parent.write_text("a file in its place")
    with pytest.raises(BenchError, match="cannot be locked for a timing"), alone_on(CPU):
        pass


def test_only_exclusive_cells_of_a_run_take_it(
    tiny: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run whose neighbour times something does all else meanwhile; what waits too long fails
    alone, and can be done again."""
    efficiency = "  - efficiency: {seconds: 0.01, resident: false}\n  - accuracy\n"
    suite = str(tiny(("  - accuracy\n", efficiency)))
    monkeypatch.setattr("bench.run.unit.alone_on", lambda device: alone_on(device, 0.2))
    with another_run(600):
        assert main(["run", suite]) == 1
    said = capsys.readouterr().err
    assert "1 cell failed" in said
    assert "efficiency: another run has been timing on cpu" in said
    assert main(["run", suite, "--retry", "failed"]) == 0
    assert device_lock.PATIENCE > 600


@pytest.mark.gpu
def test_gpus_have_locks_of_their_own() -> None:
    files = {lock_file(torch.device("cuda", i)) for i in range(torch.cuda.device_count())}
    assert len(files) == torch.cuda.device_count()
    assert lock_file(CPU) not in files
    assert lock_file(torch.device("cuda")) == lock_file(torch.device("cuda", 0))
