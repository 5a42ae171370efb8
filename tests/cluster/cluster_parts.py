"""A real dask cluster on 127.0.0.1: processes that a test starts, and can kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil


class LocalCluster:
    """`dask scheduler` and `dask worker`, as people start them, below a folder."""

    def __init__(self, folder: Path, *flags: str, protocol: str = "tcp") -> None:
        self.folder, self.flags = folder, flags
        self.processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        words = "--port", "0", "--no-dashboard", "--scheduler-file", str(file)
        self._start("scheduler", *words, "--host", f"{protocol}://127.0.0.1")
        until = time.monotonic() + 60
        while True:
            try:
                self.address: str = json.loads(file.read_text(encoding="utf-8"))["address"]
                return
            except (OSError, ValueError):
                assert time.monotonic() < until, self.log()
                time.sleep(0.05)

    def _start(self, what: str, *words: str) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(self.folder), *sys.path])
        with (self.folder / "cluster.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{what}", *words, *self.flags],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            )
        self.processes.append(process)
        return process

    def worker(self, *words: str, nanny: bool = True) -> subprocess.Popen[bytes]:
        """Start one more worker with one thread; without a nanny nobody restarts it."""
        found = ["--nthreads", "1", "--no-dashboard", *words]
        return self._start("worker", self.address, *found, *([] if nanny else ["--no-nanny"]))

    def log(self) -> str:
        return (self.folder / "cluster.log").read_text(encoding="utf-8")

    def close(self) -> None:
        for process in reversed(self.processes):
            for child in _family(process):
                child.kill()
            process.kill()
            process.wait()


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        return []


def worker_processes(nanny: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The worker itself below its nanny."""
    return [p for p in _family(nanny) if "--multiprocessing-fork" in " ".join(p.cmdline())]
