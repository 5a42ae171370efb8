"""A file in several: hosts of code, mail and some disks refuse large ones.

The parts are named by what follows the file's name, `.001` and on, and are the file when they are
put behind each other (`cat run.tar.xz.* > run.tar.xz`).
"""

from __future__ import annotations

import glob
import io
import re
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.store import files

_PART = re.compile(r"\.(\d{3})$")
MOST = 999


def name_of(path: Path) -> Path:
    """The name of the whole file, given that or the name of a part."""
    return path.with_name(_PART.sub("", path.name))


def volumes(path: Path) -> list[Path]:
    """What a file consists of: itself, or else its parts in order; nothing if neither is there.

    Raises:
        BenchError: one of the parts before the last is gone.
    """
    whole = name_of(path)
    if path == whole and path.exists():
        return [path]
    found = {
        int(match[1]): part
        for part in whole.parent.glob(f"{glob.escape(whole.name)}.[0-9][0-9][0-9]")
        if (match := _PART.search(part.name))
    }
    for number in range(1, max(found, default=0) + 1):
        if number not in found:
            raise BenchError(f"{whole}.{number:03d}: no such file, but a later part is there")
    return [found[number] for number in sorted(found)]


def cut(file: Path, whole: Path, size: int) -> list[Path]:
    """Make parts of at most `size` bytes of `file`, named after `whole`; `file` stays.

    All are written aside first, so that a full disk leaves what was there.

    Raises:
        BenchError: there would be more than 999.
        OSError: they cannot be written.
    """
    count = -(-file.stat().st_size // size)
    if count > MOST:
        raise BenchError(f"{whole}: would be {count} parts, at most {MOST} can be named")
    made = [whole.with_name(f"{whole.name}.{number:03d}") for number in range(1, count + 1)]
    aside = [part.with_name(part.name + files.PART) for part in made]
    try:
        with file.open("rb") as source:
            for part in aside:
                part.write_bytes(source.read(size))
                files.make_lasting(part)
        for part, name in zip(aside, made, strict=True):
            part.replace(name)
    finally:
        for part in aside:
            part.unlink(missing_ok=True)
    return made


class Joined(io.RawIOBase):
    """Parts read as the one file that they are."""

    def __init__(self, parts: Sequence[Path]) -> None:
        super().__init__()
        self._parts = [(part, part.stat().st_size) for part in parts]
        self._position = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """Every position can be gone to."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, as in any file."""
        end = sum(size for _, size in self._parts)
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: end}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill with what follows, up to the end of a part."""
        before = self._position
        for part, size in self._parts:
            if before < size:
                with part.open("rb") as file:
                    file.seek(before)
                    data = file.read(min(len(buffer), size - before))
                buffer[: len(data)] = data
                self._position += len(data)
                return len(data)
            before -= size
        return 0
