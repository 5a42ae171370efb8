"""`bench run` in a process of its own, and what its run directory holds meanwhile."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

# A module whose attack is broken off in its second batch, as by Ctrl-C, once.
STOPPING = """
from pathlib import Path
from bench.attacks.base import Attack

def run(problem):
    if Path("batch.txt").exists() and not Path("second.txt").exists():
        Path("second.txt").touch()
        raise KeyboardInterrupt
    Path("batch.txt").touch()
    return problem.images

ATTACK = Attack(run, deterministic=True)
"""


def driver(suite: Path, *words: str) -> subprocess.Popen[str]:
    """Start it in the suite's folder, whose modules it finds."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(suite.parent), *sys.path])}
    return subprocess.Popen(
        [sys.executable, "-m", "bench", "run", str(suite), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=suite.parent,
        # A parent that ignores Ctrl-C (a background job, say) would hand that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def rows(run: Path) -> list[tuple[object, ...]]:
    """What was measured, in order, without times."""
    with sqlite3.connect(run / "results.sqlite") as db:
        return db.execute("SELECT * FROM tidy").fetchall()


def finished(run: Path) -> dict[str, float]:
    """Names of the cells that are done, with when they began."""
    try:
        with sqlite3.connect(f"file:{run / 'results.sqlite'}?mode=ro", uri=True) as db:
            return dict(db.execute("SELECT name, started FROM cells WHERE status = 'done'"))
    except sqlite3.OperationalError:  # not created yet
        return {}


def wait_for(run: Path, count: int, process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Until so many cells are done."""
    until = time.monotonic() + seconds
    while len(finished(run)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "no progress"
        time.sleep(0.01)
