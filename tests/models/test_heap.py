"""Freed memory stays with the process that runs cells: page faults tell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.models import heap

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.confstr("CS_GNU_LIBC_VERSION") is None,
    reason="of glibc",
)

# Takes and frees 64 MB, which are 15,625 pages, again and again; prints the page faults of each of
# the last ten. It takes the heap some rounds to have places for them.
FAULTS = """
import resource, torch
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.set_num_threads(1)
for _ in range(30):
    torch.empty(16_000_000).fill_(1)
before = faults()
for _ in range(10):
    torch.empty(16_000_000).fill_(1)
print((faults() - before) // 10)
"""
SUITE = """\
name: one
seeds: [0]
datasets: [{name: fashion-mnist-mini, train_samples: 320}]
backbones: [lenet_fc]
variants: [bu]
recipe: {epochs: 1, batch_size: 32}
measures: [accuracy]
"""
RUN = """
import sys
from bench.cli import main
assert main(["run", "suite.yaml", "--quiet", *sys.argv[1:]]) == 0
"""


def faults_after(code: str, folder: Path, **environment: str) -> int:
    """Page faults for a block of 64 MB in a process that has run the code."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC")}
    path = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code + FAULTS],
        env={**own, "PYTHONPATH": path, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[-1])


def test_what_is_freed_is_kept(tmp_path: Path) -> None:
    keep = "from bench.models import heap; assert heap.keep_freed()\n"
    # Huge pages, where the system has them, make fewer faults of as much zeroing.
    assert faults_after("", tmp_path) > 20
    assert faults_after(keep, tmp_path) < 5


def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    leave = "from bench.models import heap; assert not heap.keep_freed()\n"
    assert faults_after(leave, tmp_path, MALLOC_MMAP_THRESHOLD_="131072") > 20


def test_cells_run_in_such_a_process(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE, encoding="utf-8")
    assert faults_after(RUN, tmp_path) < 5


def test_all_of_it_can_be_given_back() -> None:
    heap.keep_freed()
    heap.give_back()
