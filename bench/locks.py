"""Locks between processes of a machine: files, which a process that dies lets go of."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

# Whoever waits longer is told.
_QUIETLY = 1.0


def taken(
    file: Path, waiting: Callable[[], None], patience: float = math.inf
) -> AbstractContextManager[object]:
    """Take a lock, after whoever has it; leaving the context gives it back.

    Args:
        file: stands for the lock; made if need be, in a folder that is there.
        waiting: is called if that takes more than a second.
        patience: seconds after which to give up.

    Raises:
        Timeout: another process still has it. OSError: the file cannot be made.
    """
    lock = FileLock(file)
    try:
        return lock.acquire(timeout=min(_QUIETLY, patience))
    except Timeout:
        if patience <= _QUIETLY:
            raise
    waiting()
    return lock.acquire(timeout=-1 if patience == math.inf else patience - _QUIETLY)
