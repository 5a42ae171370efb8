"""Main memory that may still be taken: what the machine has, and what its control group allows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# What a group keeps of files on the disk counts as used, and is given back when memory is wanted.
_FILES = ("active_file", "inactive_file")


def available(proc: Path = _PROC, group: Path = _GROUPS) -> float | None:
    """Bytes of main memory that may still be taken: of the machine, or of this control group
    (version 2) if that is less; None where the system does not say.

    Args:
        proc: where Linux tells of the machine.
        group: the folder of the control group.
    """
    free = []
    with suppress(OSError, ValueError, IndexError):
        free += [1024.0 * kib for kib in _numbers(proc / "meminfo", "MemAvailable:")]
    with suppress(OSError, ValueError):
        used = int((group / "memory.current").read_text(encoding="utf-8"))
        limit = int((group / "memory.max").read_text(encoding="utf-8"))  # or `max`
        free.append(float(limit - used + _of_files(group)))
    return min(free, default=None)


def _of_files(group: Path) -> int:
    with suppress(OSError, ValueError, IndexError):
        return sum(_numbers(group / "memory.stat", *_FILES))
    return 0


def _numbers(file: Path, *names: str) -> list[int]:
    """The numbers on the lines that begin with one of these names."""
    lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
    return [int(words[1]) for words in lines if words and words[0] in names]
