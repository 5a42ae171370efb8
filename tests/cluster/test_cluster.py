"""`--scheduler`: the numbers of one process, whatever happens to workers; clear words if not."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_parts import LocalCluster, worker_processes
from drivers import driver, finished, rows, wait_for

from bench.cli import main

Tiny = Callable[..., Path]


TWO = """

def two(in_chans, num_classes):
    return nn.Sequential(
        nn.Conv2d(in_chans, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    )
"""


def slow_suite(tiny: Tiny) -> Path:
    """Three trainings of some seconds, with two cells each."""
    return tiny(("[0]", "[0, 1, 2]"), ("epochs: 2", "epochs: 400"), ("samples: 20", "samples: 60"))


def alone(suite: Path) -> list[tuple[object, ...]]:
    """The rows of the suite run in one process."""
    process = driver(suite, "--out", "alone/run", "--quiet")
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return rows(suite.parent / "alone" / "run")


def trained_twice(out: str) -> bool:
    """Whether the display tells of a training's end twice."""
    lines = [line.split()[1] for line in out.splitlines() if "/train " in line]
    return len(lines) != len(set(lines))


@pytest.mark.slow
def test_a_cluster_gives_the_numbers_of_one_process(tiny: Tiny, cluster: LocalCluster) -> None:
    suite = tiny(("[0]", "[0, 1]"))
    cluster.worker("--nworkers", "2")
    process = driver(suite, "--scheduler", cluster.address, "--out", "run")
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, out + error + cluster.log()
    assert rows(suite.parent / "run") == alone(suite)


@pytest.mark.slow
def test_tuned_trainings_wait_for_their_trials(tiny: Tiny, cluster: LocalCluster) -> None:
    search = "tune: {values: {lr: [1.0e-7, 0.05, 0.06]}}\nmeasures:"
    suite = tiny(("[0]", "[0, 1]"), ("[bu]", "[bu, td]"), ("linear", "two"), ("measures:", search))
    with (suite.parent / "tiny_nets.py").open("a", encoding="utf-8") as stream:
        stream.write(TWO)
    cluster.worker("--nworkers", "2")
    process = driver(suite, "--scheduler", cluster.address, "--out", "run")
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, out + error + cluster.log()
    assert rows(suite.parent / "run") == alone(suite)
    started = finished(suite.parent / "run")
    for variant in ("bu", "td"):
        own = {name: start for name, start in started.items() if f"/{variant}/" in name}
        last = max(start for name, start in own.items() if "/tune/" in name)
        assert all(start > last for name, start in own.items() if "/train" in name)


@pytest.mark.slow
def test_one_worker_of_two_is_killed(tiny: Tiny, cluster: LocalCluster) -> None:
    suite = slow_suite(tiny)
    first = cluster.worker(nanny=False)
    cluster.worker(nanny=False)
    process = driver(suite, "--scheduler", cluster.address, "--out", "run")
    wait_for(suite.parent / "run", 1, process)
    first.kill()
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, out + error + cluster.log()
    assert not trained_twice(out)
    assert rows(suite.parent / "run") == alone(suite)


@pytest.mark.slow
def test_both_workers_are_killed_and_nannies_restart_them(
    tiny: Tiny, cluster: LocalCluster
) -> None:
    suite = slow_suite(tiny)
    nannies = [cluster.worker(), cluster.worker()]
    process = driver(suite, "--scheduler", cluster.address, "--out", "run")
    wait_for(suite.parent / "run", 1, process)
    before = finished(suite.parent / "run")
    for nanny in nannies:
        (worker,) = worker_processes(nanny)
        worker.kill()
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, out + error + cluster.log()
    after = finished(suite.parent / "run")
    assert {name: after[name] for name in before} == before
    assert not trained_twice(out)
    assert rows(suite.parent / "run") == alone(suite)


@pytest.mark.slow
def test_both_workers_are_gone_and_a_new_one_joins(tiny: Tiny, cluster: LocalCluster) -> None:
    suite = slow_suite(tiny)
    workers = [cluster.worker(nanny=False), cluster.worker(nanny=False)]
    process = driver(suite, "--scheduler", cluster.address, "--out", "run")
    wait_for(suite.parent / "run", 1, process)
    for worker in workers:
        worker.kill()
    time.sleep(1)
    assert process.poll() is None
    cluster.worker(nanny=False)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, out + error + cluster.log()
    assert not trained_twice(out)
    assert rows(suite.parent / "run") == alone(suite)


@pytest.mark.slow
def test_without_its_scheduler_a_run_ends_in_one_line(tiny: Tiny, cluster: LocalCluster) -> None:
    suite = slow_suite(tiny)
    cluster.worker(nanny=False)
    process = driver(suite, "--scheduler", cluster.address, "--out", "run", "--quiet")
    wait_for(suite.parent / "run", 1, process)
    cluster.processes[0].kill()
    _, error = process.communicate(timeout=120)
    assert (process.returncode, error.count("\n")) == (2, 1), error
    assert error.startswith("the scheduler is gone")


@pytest.mark.slow
def test_a_worker_with_other_data_is_told(
    tiny: Tiny, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, sets = tiny(), Path("tiny_sets.py")
    text = sets.read_text().replace("_split(160, 1)", '_split(160, int(os.environ["OF"]))')
    sets.write_text(f"import os\n{text}")
    monkeypatch.setenv("OF", "7")
    cluster.worker(nanny=False)
    monkeypatch.setenv("OF", "1")
    process = driver(suite, "--scheduler", cluster.address, "--out", "run", "--quiet")
    _, error = process.communicate(timeout=120)
    assert process.returncode == 1, error
    assert "or a worker of the cluster has other files than the driver" in error


@pytest.mark.slow
def test_a_crash_takes_down_neither_worker_nor_other_cells(
    tiny: Tiny, cluster: LocalCluster
) -> None:
    suite = tiny(("  - accuracy\n", "  - 'deadly:crash'\n  - 'deadly:hang'\n  - accuracy\n"))
    text = suite.read_text(encoding="utf-8")
    suite.write_text(f"timeout: 8\n{text}", encoding="utf-8")
    code = "import ctypes, time\ndef crash(context):\n    ctypes.string_at(0)\n"
    code += "def hang(context):\n    time.sleep(600)\n"
    (suite.parent / "deadly.py").write_text(code, encoding="utf-8")
    worker = cluster.worker(nanny=False)
    process = driver(suite, "--scheduler", cluster.address, "--out", "run")
    out, error = process.communicate(timeout=300)
    assert process.returncode == 1, out + error
    assert worker.poll() is None
    with sqlite3.connect(suite.parent / "run" / "results.sqlite") as db:
        failed = dict(db.execute("SELECT name, error_kind FROM cells WHERE status = 'failed'"))
    assert {name.rpartition("/")[2]: kind for name, kind in failed.items()} == {
        "crash": "CellCrashed",
        "hang": "CellTimeout",
    }
    assert len(finished(suite.parent / "run")) == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_units_end_when_their_driver_does(tiny: Tiny, cluster: LocalCluster, number: int) -> None:
    suite = tiny(("epochs: 2", "epochs: 20000"))
    worker = cluster.worker(nanny=False)
    process = driver(suite, "--scheduler", cluster.address, "--out", "run")
    until = time.monotonic() + 60
    while "bench.run.processes.child" not in commands(worker.pid):
        assert time.monotonic() < until
        time.sleep(0.1)
    time.sleep(3)
    process.send_signal(number)
    process.communicate(timeout=30)
    until = time.monotonic() + 30
    while "bench.run.processes.child" in commands(worker.pid):
        assert time.monotonic() < until, "its child works on"
        time.sleep(0.1)
    assert worker.poll() is None


def commands(pid: int) -> str:
    """The command lines of a process's children."""
    import psutil

    return " ".join(word for child in psutil.Process(pid).children() for word in child.cmdline())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scheduler", "here"], "--scheduler here: write tcp://HOST:PORT or tls://HOST:PORT"),
        (["--scheduler", "tcp://127.0.0.1:9"], "cannot be reached"),
        (["--scheduler", "tcp://127.0.0.1:9", "--workers", "2"], "--workers is for this machine"),
        (["--tls-ca", "ca.pem"], "need --scheduler tls://HOST:PORT"),
        (["--scheduler", "tls://127.0.0.1:9", "--tls-ca", "ca.pem"], "ca.pem: no such certificate"),
    ],
)
def test_bad_flags_are_one_line(
    tiny: Tiny,
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.run.cluster.join.PATIENCE", 1.0)
    assert main(["run", str(tiny()), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not os.path.exists("runs")


def test_nobody_there_is_one_line(
    tiny: Tiny,
    cluster: LocalCluster,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.run.cluster.join.FIRST", 1.0)
    assert main(["run", str(tiny()), "--scheduler", cluster.address]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no worker is there; start one with `dask worker {cluster.address}`" in line


@pytest.mark.slow
def test_a_worker_with_other_code_is_named(
    tiny: Tiny,
    cluster: LocalCluster,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bench.run.cluster import worker as inside

    cluster.worker(nanny=False)
    suite = tiny()
    mine = inside.versions

    def other(plugins: tuple[str, ...] = ()) -> dict[str, str]:
        return {**mine(plugins), "torch": "9.9.9"}

    monkeypatch.setattr(inside, "versions", other)
    other.__module__, other.__qualname__ = mine.__module__, mine.__qualname__
    assert main(["run", str(suite), "--scheduler", cluster.address]) == 2
    error = capsys.readouterr().err
    assert "worker tcp://127.0.0.1:" in error
    assert "has other code than the driver: torch 9.9.9 here, 2." in error


@pytest.mark.slow
def test_timings_come_after_many_trainings_and_are_not_lost(
    tiny: Tiny, cluster: LocalCluster
) -> None:
    """They are a second round of jobs, which the scheduler must not take for the first."""
    suite = tiny(
        ("[0]", "[0, 1, 2, 3]"),
        ("  - accuracy\n", "  - accuracy\n  - efficiency: {resident: false, seconds: 0.01}\n"),
    )
    cluster.worker()
    process = driver(suite, "--scheduler", cluster.address, "--out", "run")
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, out + error + cluster.log()
    assert "WorkerDied" not in cluster.log()
