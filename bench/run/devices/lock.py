"""Timings take turns: one at a time on a device, whichever run of this user wants it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import Timeout

from bench.errors import BenchError
from bench.locks import taken

# A timing takes seconds; whoever waits this long waits for something that hangs.
PATIENCE = 3600.0


def lock_file(device: torch.device) -> Path:
    """The file that whoever times something on the device holds; in a folder of this user, on
    this machine (a folder in a shared home would lock other machines too)."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    name = "cpu"
    if device.type == "cuda":
        # The number of a GPU depends on who looks (CUDA_VISIBLE_DEVICES).
        name = f"gpu-{torch.cuda.get_device_properties(device).uuid}"
    return Path(tempfile.gettempdir()) / f"topdown-bench-{user}" / f"timing-{name}.lock"


@contextmanager
def alone_on(device: torch.device, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the device's lock, after those who have it; a process that dies gives it up.

    Waiting is told on standard error.

    Raises:
        BenchError: it did not become free within `patience` seconds, or cannot be made.
    """
    file = lock_file(device)

    def waiting() -> None:
        text = f"waiting for another run's timing on {device.type} ({file})"
        print(text, file=sys.stderr, flush=True)

    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        lock = taken(file, waiting, patience)
    except Timeout:
        raise BenchError(
            f"another run has been timing on {device.type} for {patience:.0f} s ({file}); wait for "
            "it or end it, then --retry failed"
        ) from None
    except OSError as error:
        raise BenchError(f"{file}: cannot be locked for a timing: {error}") from None
    with lock:
        yield
