"""A child process as its supervisor sees it: started, listened to, looked at, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from bench.errors import BenchError
from bench.run.devices.gpus import VISIBLE
from bench.run.processes.child import WHERE
from bench.run.processes.wire import READY, Message, Order

_CHILD = "bench.run.processes.child"
# Importing PyTorch takes seconds, from a cold network disk a minute.
START = 600.0
# A service that does not work may keep whoever asks it waiting for ever.
_SERVED = 120.0
# How long a process that hangs may take to write where it is.
_TELL = 1.0
_LOG = 8_000


class ChildDied(Exception):  # noqa: N818  (an event, not a mistake)
    """The process has ended or broken off; nothing more comes from it."""


class DeviceSilent(Exception):  # noqa: N818
    """Its GPU does not answer a new process; the text is what CUDA says."""


class Child:
    """One process for units, which sees only the given GPU if there is one; `used` tells whether
    it has ended a cell. With `sharing` it asks a service for its GPU, whose environment that is:
    it is `shared`.

    One thread at a time works with it; `end` alone may be called by others.
    """

    def __init__(self, gpu: str | None = None, sharing: Mapping[str, str] | None = None) -> None:
        self.gpu = gpu
        self.shared = bool(sharing)
        ours, theirs = socket.socketpair()
        self.used = False
        # Unnamed: gone with the last process that has it open.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        fds = theirs.fileno(), self._log.fileno()
        # The path of this process, for plugins lie anywhere on it.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", _CHILD, *map(str, fds), *(["cuda"] if gpu else [])],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a process group, to end whatever it starts; no Ctrl-C
            env={
                **os.environ,
                "PYTHONPATH": path,
                **({VISIBLE: gpu} if gpu else {}),
                **(sharing or {}),
            },
        )
        theirs.close()
        self._connection = Connection(ours.detach())

    def start_up(self) -> None:
        """Wait until it has imported what it needs.

        Raises:
            ChildDied: it ended instead. DeviceSilent: it cannot use its GPU. BenchError: it takes
                far too long.
        """
        found = self.receive(_SERVED if self.shared else START)
        if found is not None and found.kind == "dead":
            raise DeviceSilent(found.identity)
        if found is None and self.shared:
            raise DeviceSilent(f"no answer within {_SERVED:.0f} s")
        if found != READY:
            self.kill()
            raise BenchError(f"a worker process did not start within {START:.0f} s")

    def send(self, order: Order) -> None:
        """Give it a unit.

        Raises:
            ChildDied: it has ended.
        """
        try:
            self._connection.send_bytes(order.pack())
        except OSError:
            raise ChildDied from None

    def receive(self, seconds: float) -> Message | None:
        """What it sends next; None if nothing comes within that time.

        Raises:
            ChildDied: it has ended.
        """
        try:
            if not self._connection.poll(seconds):
                return None
            return Message.unpack(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise ChildDied from None

    def memory(self) -> int:
        """Resident bytes of the process and all that it started, without files that they map (on
        Linux): those pages the system takes back. 0 if it is gone."""
        total = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += _held(one)
        return total

    def where(self) -> str:
        """Have it write the stacks of its threads; return what there is of them."""
        with contextlib.suppress(OSError):
            self._process.send_signal(WHERE)
            until = time.monotonic() + _TELL
            while not self.log() and time.monotonic() < until:
                time.sleep(0.02)
            time.sleep(0.02)
        return self.log()

    def log(self) -> str:
        """What its fault handler wrote (the end of it)."""
        size = os.fstat(self._log.fileno()).st_size
        data = os.pread(self._log.fileno(), _LOG, max(0, size - _LOG))
        return data.decode(errors="replace")

    def how_it_ended(self) -> str:
        """`was killed by SIGSEGV`, `ended by itself with exit code 3`; it must be ending."""
        try:
            code = self._process.wait(_TELL)
        except subprocess.TimeoutExpired:  # it closed the socket, and lives
            return "broke off"
        if code >= 0:
            return f"ended by itself with exit code {code}"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"

    def end(self) -> None:
        """End it and its whole process group, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End it and let go of it."""
        self.end()
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._connection.close()
        self._log.close()


def _held(process: psutil.Process) -> int:
    """Resident bytes of one process that are no file's."""
    status = Path(f"/proc/{process.pid}/status")
    try:
        # Bytes: the name of a process, which is among them, may be anything.
        lines = status.read_bytes().split(b"\n")
    except OSError:  # no Linux
        lines = []
    held = (b"RssAnon:", b"RssShmem:")
    found = [1024 * int(line.split()[1]) for line in lines if line.startswith(held)]
    return sum(found) if found else int(process.memory_info().rss)
