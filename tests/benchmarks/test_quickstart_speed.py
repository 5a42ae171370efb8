"""The quickstart against a plain script that does the same work network by network.

    python -m pytest tests/benchmarks/test_quickstart_speed.py -m benchmark

About ten minutes on two free cores; $QUICKSTART_EPOCHS (10) makes it shorter. CPU time is of whole
processes with one thread, imports included; wall time is of the script with as many threads as
PyTorch takes, and of `bench run --workers 2`. Each run lies alone in its folder: beside another it
would take over that one's trained weights.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench.store import files
from bench.store.database import Store

pytest.importorskip("pytest_benchmark")
pytestmark = pytest.mark.benchmark
SUITE = Path(__file__).parents[2] / "suites" / "quickstart.yaml"
SCRIPT = Path(__file__).with_name("naive_quickstart.py")
EPOCHS = int(os.environ.get("QUICKSTART_EPOCHS", "10"))
# How many times less time: what is promised.
BAR = 3.0
# In which numbers are the same: float32, contiguous, deterministic.
PLAIN = (
    "bn_momentum: 0.1",
    "bn_momentum: 0.1, mode: deterministic, precision: fp32, channels_last: false",
)


def suite(folder: Path, *changes: tuple[str, str]) -> Path:
    text = SUITE.read_text(encoding="utf-8")
    for old, new in (("epochs: 10", f"epochs: {EPOCHS}"), *changes):
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "quickstart.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def spent(command: list[str], threads: str | None = "1") -> tuple[float, float]:
    """CPU and wall seconds of a process and its children."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    environment["PYTHONPATH"] = str(SUITE.parents[1])
    if threads:
        environment["OMP_NUM_THREADS"] = threads
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, env=environment)
    after, wall = os.times(), time.perf_counter() - start
    used = after.children_user + after.children_system
    return used - before.children_user - before.children_system, wall


def harness(path: Path, out: Path, workers: int) -> list[str]:
    words = ["-m", "bench", "run", str(path), "--out", str(out), "--quiet", "--device", "cpu"]
    return [*words, "--workers", str(workers)]


def recorded(run: Path) -> dict[str, np.ndarray]:
    """Predictions and distances by the names that the script gives them."""
    store = Store.open(run)
    rows = store.rows(
        "SELECT p.name, c.file, c.sha256 FROM planned p JOIN cells c USING (identity)"
        " WHERE c.file LIKE 'arrays/%'"
    )
    store.close()
    found = {}
    for row in rows:
        arrays = files.read_arrays(run / row["file"], row["sha256"])
        network, _, measure = row["name"].partition("/seed")
        seed, _, measure = measure.partition("/")
        key = f"{network}/seed{seed}/"
        if measure == "accuracy":
            found[key + "prediction"] = arrays["prediction"]
        else:
            found[key + measure.partition("/")[2]] = arrays["l2"]
    return found


def test_the_numbers_are_the_same(tmp_path: Path) -> None:
    """One seed, in the setting in which nothing is left to rounding."""
    path = suite(tmp_path, PLAIN, ("seeds: [0, 1]", "seeds: [1]"))
    spent(harness(path, tmp_path / "run", 1))
    spent([str(SCRIPT), str(path), str(tmp_path / "naive.npz")])
    ours, theirs = recorded(tmp_path / "run"), np.load(tmp_path / "naive.npz")
    assert set(ours) == set(theirs.files)
    assert len(ours) == 6
    for name, array in ours.items():
        if name.endswith("prediction"):
            np.testing.assert_array_equal(array, theirs[name], name)
        else:
            np.testing.assert_allclose(array, theirs[name], atol=1e-5, rtol=0, err_msg=name)


def test_less_time_for_the_same_work(
    tmp_path: Path, benchmark: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = suite(tmp_path)
    cpu, _ = benchmark.pedantic(  # type: ignore[attr-defined]
        spent, (harness(path, tmp_path / "one" / "run", 1),), rounds=1, iterations=1
    )
    naive_cpu, _ = spent([str(SCRIPT), str(path), str(tmp_path / "a.npz")])
    _, wall = spent(harness(path, tmp_path / "two" / "run", 2), threads=None)
    _, naive_wall = spent([str(SCRIPT), str(path), str(tmp_path / "b.npz")], threads=None)
    benchmark.extra_info.update(cpu_ratio=naive_cpu / cpu, wall_ratio=naive_wall / wall)  # type: ignore[attr-defined]
    with capsys.disabled():
        print(
            f"\nquickstart, {EPOCHS} epochs: {cpu:.1f} s of CPU time with one worker, plain script "
            f"{naive_cpu:.1f} s, ratio {naive_cpu / cpu:.2f}; wall time {wall:.1f} s with two "
            f"workers, plain script {naive_wall:.1f} s, ratio {naive_wall / wall:.2f}"
        )
    assert naive_cpu >= BAR * cpu
    assert naive_wall >= BAR * wall
