"""A cell that crashes, hangs or eats memory fails alone, whatever it does to its process."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from drivers import driver

from bench.cli import main

Tiny = Callable[..., Path]

MEASURES = '''
"""Measures that are bad in ways no `except` can catch."""
import ctypes, os, signal, subprocess, sys, time

def fine(context):
    return {"value": 1.0}

def fine_too(context):
    return {"value": 2.0}

def segfault(context):
    ctypes.string_at(0)

def exits(context):
    os._exit(3)

def hangs(context):
    time.sleep(600)

def hangs_in_native_code(context):
    ctypes.PyDLL(None).sleep(600)  # and keeps the interpreter locked

def hog(context):
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1)) * (64 << 20))
        time.sleep(0.02)

def starts_a_hog(context):
    code = "x = b'x' * (3 << 30); import time; time.sleep(600)"
    subprocess.run([sys.executable, "-c", code])

def maps_a_file(context):
    """Reads all of a file that is mapped, and stays a while."""
    import mmap
    with open("sparse", "w+b") as file:
        file.truncate(2 << 30)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    for start in range(0, len(mapped), 4096):
        mapped[start]
    lines = open("/proc/self/status").read().splitlines()
    (held,) = (int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    assert held > 2 << 20
    time.sleep(1)
    return {"value": 7.0}

def has_an_odd_name(context):
    """One that is cut in the middle of a letter, as the kernel cuts long names."""
    with open("/proc/self/comm", "wb") as file:
        file.write("vierzehnBytesü".encode()[:14])
    time.sleep(1)
    return {"value": 8.0}

def dies_once(context):
    if not os.path.exists("died"):
        open("died", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"value": 3.0}

def dies_with_others(context):
    """Only in a process that has done other cells."""
    if "crashing_measures_seen" in sys.modules:
        os._exit(5)
    return {"value": 4.0}

def dies_at_the_end(context):
    """In what a process does between its last cell and saying that it is through."""
    from bench.models import heap
    heap.give_back = lambda: os.kill(os.getpid(), signal.SIGKILL)
    return {"value": 6.0}

def marks(context):
    sys.modules["crashing_measures_seen"] = os
    return {"value": 5.0}
'''

NETS = '''
"""A network whose training takes the process down."""
import os
from torch import nn
from tiny_nets import linear

class deadly(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.net = linear(in_chans, num_classes)
    def forward(self, x):
        if self.training:
            os.abort()
        return self.net(x)
'''


def with_measures(tiny: Tiny, *measures: str, more: str = "") -> Path:
    """The tiny suite with the measures of this file in the given order."""
    names = "".join(f"  - 'crashing_measures:{name}'\n" for name in measures)
    path = tiny(("  - accuracy\n", f"  - accuracy\n{names}"))
    path.write_text(more + path.read_text(encoding="utf-8"), encoding="utf-8")
    (path.parent / "crashing_measures.py").write_text(MEASURES, encoding="utf-8")
    (path.parent / "deadly_nets.py").write_text(NETS, encoding="utf-8")
    return path


def outcomes(run: Path = Path("runs/tiny")) -> dict[str, str]:
    """`done`, or the class of the error and its message, by the cell's title."""
    try:
        with sqlite3.connect(f"file:{run / 'results.sqlite'}?mode=ro", uri=True) as db:
            rows = db.execute("SELECT name, status, error_kind, error FROM cells").fetchall()
    except sqlite3.OperationalError:  # not created yet
        return {}
    return {
        name.partition("seed0/")[2]: "done" if status == "done" else f"{kind}: {error}"
        for name, status, kind, error in rows
    }


def failed(run: Path = Path("runs/tiny")) -> dict[str, str]:
    return {
        name.removeprefix("crashing_measures:"): text
        for name, text in outcomes(run).items()
        if text != "done"
    }


def test_crashes_take_down_their_own_cell(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    suite = with_measures(tiny, "fine", "segfault", "exits", "fine_too")
    assert main(["run", str(suite), "--workers", "2"]) == 1
    assert failed() == {
        "segfault": "CellCrashed: its process was killed by SIGSEGV",
        "exits": "CellCrashed: its process ended by itself with exit code 3",
    }
    assert len(outcomes()) == 7
    error = capsys.readouterr().err
    assert "2 cells failed:" in error
    assert "seed0/segfault: CellCrashed: its process was killed by SIGSEGV" in error
    log = Path("runs/tiny/failures.log").read_text(encoding="utf-8")
    assert "Fatal Python error: Segmentation fault" in log
    assert "in segfault" in log
    page = Path("runs/tiny/leaderboard.md").read_text(encoding="utf-8")
    assert "CellCrashed: its process was killed by SIGSEGV" in page


EDITS = """
import os
from pathlib import Path

def edits(context):
    net = Path("tiny_nets.py")
    net.write_text(net.read_text().replace("nn.Flatten(),", "nn.Flatten(), nn.Dropout(0.5),"))
    os._exit(3)

def fine(context):
    return {"value": 1.0}
"""


@pytest.mark.slow
def test_the_next_process_does_not_take_an_edit_for_what_was_planned(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("editing_measures.py").write_text(EDITS, encoding="utf-8")
    measures = "  - editing_measures:edits\n  - editing_measures:fine\n"
    suite = tiny(("seeds: [0]", "seeds: [0, 1]\ntimeout: 60s"), ("  - accuracy\n", measures))
    assert main(["run", str(suite)]) == 1
    error = capsys.readouterr().err
    told = "seed1/train: the code of tiny_nets:linear changed while the run was at work; run the"
    assert told in error
    with sqlite3.connect("runs/tiny/results.sqlite") as db:
        done = {name for (name,) in db.execute("SELECT name FROM cells WHERE status = 'done'")}
    assert done == {"blobs/linear/bu/seed0/train"}


@pytest.mark.slow
def test_a_limit_alone_isolates_too(tiny: Tiny) -> None:
    suite = with_measures(
        tiny, "hangs", "hangs_in_native_code", "fine", more="timeout: 8\nmemory: 64GiB\n"
    )
    assert main(["run", str(suite)]) == 1
    said = "CellTimeout: took over 8 s (the suite's `timeout`)"
    assert failed() == {"hangs": said, "hangs_in_native_code": said}
    log = Path("runs/tiny/failures.log").read_text(encoding="utf-8")
    assert "in hangs\n" in log
    assert "in hangs_in_native_code\n" in log


@pytest.mark.slow
def test_memory_is_that_of_all_processes_of_a_cell(tiny: Tiny) -> None:
    suite = with_measures(tiny, "hog", "starts_a_hog", "fine", more="memory: 2GiB\n")
    assert main(["run", str(suite), "--workers", "1"]) == 1
    assert set(failed()) == {"hog", "starts_a_hog"}
    for text in failed().values():
        assert text.startswith("CellOutOfMemory: took ")
        assert text.endswith("GiB, over 2 GiB (the suite's `memory`)")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of a process")
def test_files_that_a_cell_maps_are_not_its_memory(tiny: Tiny) -> None:
    suite = with_measures(tiny, "hog", "maps_a_file", more="memory: 2GiB\n")
    assert main(["run", str(suite), "--workers", "1"]) == 1
    assert set(failed()) == {"hog"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of a process")
def test_memory_is_found_whatever_a_process_is_called(tiny: Tiny) -> None:
    suite = with_measures(tiny, "has_an_odd_name", more="memory: 8GiB\n")
    assert main(["run", str(suite), "--workers", "1"]) == 0
    assert failed() == {}


@pytest.mark.slow
def test_who_dies_of_something_else_is_tried_again(tiny: Tiny) -> None:
    suite = with_measures(tiny, "dies_once", "marks", "dies_with_others", "fine")
    assert main(["run", str(suite), "--workers", "2"]) == 0
    assert failed() == {}


@pytest.mark.slow
def test_who_dies_when_all_is_done_harms_nobody(tiny: Tiny) -> None:
    suite = with_measures(tiny, "fine")
    suite.write_text(suite.read_text() + "  - 'crashing_measures:dies_at_the_end'\n")
    assert main(["run", str(suite), "--workers", "2"]) == 0
    assert outcomes()["dies_at_the_end"] == "done"


@pytest.mark.slow
def test_a_deadly_training_fails_what_needs_it(tiny: Tiny) -> None:
    suite = with_measures(tiny, "fine")
    text = suite.read_text(encoding="utf-8")
    both = "['deadly_nets:deadly', 'tiny_nets:linear']"
    suite.write_text(text.replace("[tiny_nets:linear]", both), encoding="utf-8")
    assert main(["run", str(suite), "--workers", "2"]) == 1
    with sqlite3.connect("runs/tiny/results.sqlite") as db:
        rows = dict(db.execute("SELECT name, error FROM cells").fetchall())
    assert len(rows) == 8
    died = "its process was killed by SIGABRT"
    for name, error in rows.items():
        if "/linear/" in name:
            assert error is None
        else:
            assert error == (died if name.endswith("/train") else f"its training failed: {died}")


@pytest.mark.slow
def test_failed_cells_are_tried_again_when_the_cause_is_mended(tiny: Tiny) -> None:
    suite = with_measures(tiny, "hangs", more="timeout: 8\n")
    assert main(["run", str(suite), "--workers", "2"]) == 1
    before = outcomes()
    assert main(["run", str(suite), "--workers", "2"]) == 1
    assert outcomes() == before
    text = suite.read_text(encoding="utf-8").replace("timeout: 8\n", "timeout: 1m\n")
    suite.write_text(text.replace("hangs", "fine"), encoding="utf-8")
    assert main(["run", str(suite), "--workers", "2", "--retry", "failed"]) == 0


def children_at_work(process: subprocess.Popen[str], count: int) -> list[psutil.Process]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        found = psutil.Process(process.pid).children(recursive=True)
        if len(found) >= count and "accuracy" in outcomes():
            time.sleep(0.5)
            return found
        time.sleep(0.05)
    raise AssertionError("no child processes")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("measure", ["hangs", "hangs_in_native_code"])
def test_no_process_outlives_the_driver(tiny: Tiny, number: int, measure: str) -> None:
    suite = with_measures(tiny, measure)
    process = driver(suite, "--workers", "2")
    children = children_at_work(process, 1)
    process.send_signal(number)
    process.communicate(timeout=20)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert outcomes()["accuracy"] == "done"


def test_a_driver_that_was_stopped_does_not_count_that_time(tiny: Tiny) -> None:
    """Ctrl-Z stops the driver, not what it supervises: that may long have finished."""
    suite = tiny(("measures:", "timeout: 4s\nmeasures:"), ("  - accuracy\n", '  - "paced:steps"\n'))
    Path("paced.py").write_text(
        "import time\nfrom pathlib import Path\n"
        "def steps(context):\n"
        "    for step in range(10):\n"
        "        Path('begun').touch()\n"
        "        time.sleep(0.2)\n"
        "        context.progress(step / 10)\n"
        "    return {'value': 1.0}\n"
    )
    process = driver(suite, "--out", "run")
    until = time.monotonic() + 60
    while not Path("begun").exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    process.send_signal(signal.SIGCONT)
    output, error = process.communicate(timeout=120)
    assert process.returncode == 0, output + error
