"""Memory that a process frees stays with the process.

The C library of Linux (glibc) hands large blocks back to the system as soon as they are freed. A
network's feature maps are such blocks: every forward pass would get all of them anew, page by page
and zeroed, which takes up to as much time as the arithmetic. So the process keeps them, as PyTorch
itself does on a GPU. Numbers do not depend on it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

# Of <malloc.h>: a block of so many bytes is mapped on its own; so many free ones at the end of the
# heap are handed back.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1
# What a user has set by hand is left alone.
_OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@cache
def keep_freed() -> bool:
    """From now on, keep the memory that is freed; return whether this C library can.

    Threads that exist already and have allocated something may go on as before.
    """
    library = _library()
    if library is None or any(name in os.environ for name in _OWN):
        return False
    thresholds = (_MMAP_THRESHOLD, _TRIM_THRESHOLD)
    return all(library.mallopt(which, _NEVER) == 1 for which in thresholds)


def give_back() -> None:
    """Hand all that is free back to the system, for others on this machine."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)


@cache
def _library() -> ctypes.CDLL | None:
    """glibc; None on other systems and C libraries."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    known = all(hasattr(library, name) for name in ("mallopt", "malloc_trim"))
    return library if known else None
