"""Killed at any moment and run again: nothing measured is lost, nothing is wrong."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from drivers import driver, finished, rows, wait_for

from bench.cli import main

Tiny = Callable[..., Path]


def start(suite: Path, *words: str) -> subprocess.Popen[str]:
    return driver(suite, "--out", str(suite.parent / "run"), *words)


def slow_suite(tiny: Tiny) -> Path:
    """About ten cells of half a second each."""
    return tiny(("[0]", "[0, 1, 2]"), ("epochs: 2", "epochs: 60"), ("samples: 20", "samples: 60"))


@pytest.mark.parametrize(
    ("sent", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_signal_keeps_what_is_finished_and_says_how_to_go_on(
    tiny: Tiny, sent: signal.Signals, code: int
) -> None:
    suite = slow_suite(tiny)
    run = suite.parent / "run"
    process = start(suite)
    wait_for(run, 2, process)
    process.send_signal(sent)
    output, error = process.communicate(timeout=120)
    assert process.returncode == code, (output, error, finished(run))
    assert error.strip() == "interrupted; run the same command again to go on"
    before = finished(run)
    assert 2 <= len(before) < 9
    assert main(["run", str(suite), "--out", str(run), "--quiet"]) == 0
    after = finished(run)
    assert len(after) == 9
    assert {name: after[name] for name in before} == before


def test_who_presses_ctrl_c_again_and_again_sees_one_line(tiny: Tiny) -> None:
    suite = slow_suite(tiny)
    run = suite.parent / "run"
    process = start(suite)
    wait_for(run, 1, process)
    while process.poll() is None:  # also while Python ends, which takes a moment
        process.send_signal(signal.SIGINT)
        time.sleep(0.005)
    _, error = process.communicate(timeout=120)
    assert process.returncode in (130, -signal.SIGINT), "which a shell shows as 130 too"
    assert error.strip() == "interrupted; run the same command again to go on"


def test_the_exit_code_does_not_depend_on_where_a_signal_comes(tiny: Tiny) -> None:
    suite = tiny(("tiny_nets:linear", "my_stop:net"))
    (suite.parent / "my_stop.py").write_text(
        "def net(in_chans, num_classes):\n"
        "    stop = 'os.kill(os.getpid(), signal.SIGINT)'\n"
        "    exec(f'import os, signal, time\\n{stop}\\ntime.sleep(9)')\n"
    )
    process = start(suite)
    _, error = process.communicate(timeout=120)
    assert error.strip() == "interrupted; run the same command again to go on"
    assert process.returncode == 130


def kill_until_done(tiny: Tiny, kills: int, seed: int) -> None:
    suite = slow_suite(tiny)
    run = suite.parent / "run"
    dice = random.Random(seed)
    for _ in range(kills):
        process = start(suite)
        try:
            wait_for(run, len(finished(run)) + 1, process)
        except AssertionError:
            if process.returncode == 0:
                break  # everything is done already
            raise
        time.sleep(dice.uniform(0, 0.4))
        process.kill()
        process.communicate()
    assert main(["run", str(suite), "--out", str(run), "--quiet"]) == 0
    assert not list(run.rglob("*.part"))
    assert main(["run", str(suite), "--out", "elsewhere/run", "--quiet"]) == 0
    assert rows(run) == rows(suite.parent / "elsewhere" / "run")


def test_killed_runs_end_with_the_same_tables(tiny: Tiny) -> None:
    kill_until_done(tiny, kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_many_times(tiny: Tiny, seed: int) -> None:
    kill_until_done(tiny, kills=7, seed=seed)


def test_two_workers_give_the_numbers_of_one(tiny: Tiny) -> None:
    suite = tiny(("[0]", "[0, 1]"))
    assert main(["run", str(suite), "--out", "run", "--quiet"]) == 0
    expected = rows(suite.parent / "run")
    two = ["run", str(suite), "--out", "run", "--workers", "2", "--fresh", "--quiet"]
    assert main(two) == 0
    assert rows(suite.parent / "run") == expected


POOLED = """
import multiprocessing
import time

def pooled(context):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.apply_async(time.sleep, (60,))
        time.sleep(0.5)
        return {"value": float(pool.apply(abs, (-3.0,)))}
"""


def test_a_pool_of_processes_is_ended_without_a_word(tiny: Tiny) -> None:
    """By SIGTERM, which in a process of its own is no end of the run."""
    Path("pooling.py").write_text(POOLED, encoding="utf-8")
    suite = tiny(("  - accuracy\n", "  - accuracy\n  - 'pooling:pooled'\n"))
    process = start(suite)
    out, err = process.communicate()
    assert (process.returncode, "Traceback" in err) == (0, False), out + err
