"""NVIDIA's Multi-Process Service (MPS) for the worker processes of one run.

Without it processes take turns on a GPU, however little of it each one uses; with it their kernels
run side by side. The service is this run's own: its control daemon listens in a folder that nobody
else knows, sees only the GPUs of the run, and ends with it.

Source: NVIDIA, Multi-Process Service, "Appendix: Tools and Interface Reference".
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.run.devices.gpus import VISIBLE

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
# "0" in this variable: do without.
WANTED = "BENCH_MPS"
# Where the daemon listens in its folder, and which folder is everybody's.
_SOCKET, _EVERYBODYS = "control", Path("/tmp/nvidia-mps")  # noqa: S108  (NVIDIA's choice)
# How long the daemon may take to listen, and to end with all that it started.
_START, _END = 10.0, 15.0
# Before this compute capability all clients share one address space.
_OLDEST = 7
# Holds the daemon until the pipe closes: also where the run is killed. `quit` ends clients, too.
_KEEPER = f"""\
{CONTROL} -f >/dev/null 2>&1 &
daemon=$!
read -r _
echo quit -t 5 | {CONTROL} >/dev/null 2>&1
wait $daemon
rm -rf "${PIPES}"
"""


class Service:
    """A control daemon, which starts its server when the first process asks for a GPU.

    Args:
        gpus: UUIDs of the only ones that it opens.
    """

    def __init__(self, gpus: Sequence[str]) -> None:
        # The name of a socket must be short.
        self._folder = Path(tempfile.mkdtemp(prefix="bench-mps-"))
        self.environment: Mapping[str, str] = {
            PIPES: str(self._folder),
            LOGS: str(self._folder),
        }
        self._keeper = subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", _KEEPER],
            stdin=subprocess.PIPE,
            # Whoever reads what a run says would else wait for this, too, if the run is killed.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # no Ctrl-C
            env={**os.environ, **self.environment, VISIBLE: ",".join(gpus)},
        )

    def listens(self) -> bool:
        """Whether it came up."""
        until = time.monotonic() + _START
        while time.monotonic() < until:
            if (self._folder / _SOCKET).exists():
                return True
            time.sleep(0.05)
        return False

    def close(self) -> None:
        """End it; processes that still use it lose their GPU."""
        if self._keeper.poll() is None:
            try:
                self._keeper.communicate(timeout=_END)  # closes its pipe
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._keeper.pid, signal.SIGKILL)
                self._keeper.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def start(gpus: Sequence[str]) -> Service | None:
    """A service for these GPUs (UUIDs); None where there is none to be had, or already one."""
    if (
        not gpus
        or os.environ.get(WANTED) == "0"
        or PIPES in os.environ
        or (_EVERYBODYS / _SOCKET).exists()
        or shutil.which(CONTROL) is None
    ):
        return None
    service = Service(gpus)
    if service.listens():
        return service
    service.close()
    return None


def shareable(gpus: Sequence[int]) -> tuple[str, ...]:
    """UUIDs of GPUs as `CUDA_VISIBLE_DEVICES` takes them; () if one of them cannot be shared in
    this way: it is too old, or a slice of one (MIG)."""
    import torch

    found = [torch.cuda.get_device_properties(gpu) for gpu in gpus]
    if any(one.major < _OLDEST or "MIG" in one.name for one in found):
        return ()
    return tuple(f"GPU-{one.uuid}" for one in found)
