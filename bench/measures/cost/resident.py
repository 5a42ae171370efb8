"""Resident memory of a network on the CPU, measured in a fresh process of its own.

Memory that an earlier cell gave back may still belong to the process, so a peak that is taken here
would tell of the past. One server (this module as a program) imports PyTorch, which takes 2 to 4 s
once, and then forks a fresh process for each network, in some 0.1 s. multiprocessing's own servers
would import the main program again, whoever wrote it.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bench.measures.cost.modes import Mode

if TYPE_CHECKING:
    from torch import nn

_STATUS = Path("/proc/self/status")
# Writing 5 there makes the peak of the present process start anew (Linux).
_CLEAR = Path("/proc/self/clear_refs")

_servers: dict[int, subprocess.Popen[str]] = {}


def resident_peak(network: nn.Module, shape: tuple[int, int, int, int], mode: Mode) -> float | None:
    """Peak resident bytes of a pass of a network, as :func:`bench.measures.cost.memory.one_pass`.

    Its weights count exactly; what PyTorch itself takes, and the images, do not.

    Args:
        network: on the CPU; it gets a process of its own.
        shape: of the batch, N x C x H x W.
        mode: how it is run.

    Returns:
        Bytes; None where they could not be measured: where a process cannot be forked (Windows), of
        a network that cannot be sent to another one, or that ran out of memory there.
    """
    import torch

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.pt"
        try:
            torch.save(network, file)
        except (pickle.PicklingError, AttributeError, TypeError, RuntimeError):
            return None
        return _ask(
            {
                "file": str(file),
                "shape": shape,
                "mode": mode.model_dump(),
                "threads": torch.get_num_threads(),
                "path": sys.path,
                # The server imports them once, not each process anew.
                "modules": sorted({type(part).__module__ for part in network.modules()}),
            }
        )


def _ask(request: Mapping[str, Any]) -> float | None:
    if not hasattr(os, "fork"):
        return None
    server = _server()
    # The server may have been ended, as for want of memory.
    with suppress(OSError, ValueError):
        _pipe(server.stdin).write(json.dumps(request) + "\n")
        _pipe(server.stdin).flush()
        answer: float | None = json.loads(_pipe(server.stdout).readline())
        return answer
    return None


def _server() -> subprocess.Popen[str]:
    """The server of this process, started where there is none."""
    # A fork of this process must not talk to its parent's.
    server = _servers.get(os.getpid())
    if server is None or server.poll() is not None:
        server = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                # Threads that wait for each other on a busy machine must not spin for seconds.
                "OMP_WAIT_POLICY": "passive",
            },
        )
        _servers[os.getpid()] = server
        atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[str]) -> None:
    with suppress(OSError):
        _pipe(server.stdin).close()
    server.wait()
    _pipe(server.stdout).close()


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # noqa: S101 - both were asked for
    return stream


def _serve() -> None:
    """A line of JSON in for each network, a line with its bytes, or null, out; until input ends."""
    answers = os.fdopen(os.dup(1), "w")
    # What modules print while they are imported is no answer.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        request = json.loads(line)
        sys.path[:] = request["path"]
        for module in ("bench.measures.cost.memory", *request["modules"]):
            with suppress(Exception):  # whoever needs it will see
                importlib.import_module(module)
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:
            os.close(ours)
            try:
                os.write(theirs, json.dumps(_measure(request)).encode())
            finally:
                os._exit(0)  # nothing of the server's is to be tidied up here
        os.close(theirs)
        with os.fdopen(ours) as answer:
            # Empty if the process failed or was ended.
            said = answer.read()
        os.waitpid(child, 0)
        print(said or "null", file=answers, flush=True)


def _measure(request: Mapping[str, Any]) -> int:
    """Bytes of a network; in the fresh process."""
    import torch

    from bench.measures.cost.memory import one_pass, weight_bytes
    from bench.measures.cost.modes import as_batch, runner

    torch.set_num_threads(request["threads"])
    mode = Mode.model_validate(request["mode"])
    # Our own file, written a moment ago.
    network: nn.Module = torch.load(request["file"], weights_only=False)
    forward = runner(network, mode, torch.device("cpu"))
    images = as_batch(torch.rand(request["shape"]), mode)
    # Code that is loaded at the first call is not the network's; two, for batch statistics.
    one_pass(network, forward, images[:2])
    _start_anew()
    before = _resident("VmRSS:")
    one_pass(network, forward, images)
    return max(0, _resident("VmHWM:") - before) + weight_bytes(network)


def _start_anew() -> None:
    """Forget the peak so far, and give back what was freed but kept (glibc)."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        _CLEAR.write_text("5", encoding="ascii")


def _resident(field: str) -> int:
    """Bytes resident now (VmRSS) or at most so far (VmHWM); the latter for both where there is no
    /proc, which is right for the first peak of a process."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
    except (OSError, StopIteration):
        import resource  # not on Windows

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    _serve()
