"""A folder of decoded images on the disk, which every process maps instead of holding its own.

An entry is a folder: files of bytes, and a description that is written last. It is made once, under
a lock, and never changed. The memory that holds its pages is the system's file cache: shared by all
processes, and given up when something else needs it.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from bench.data.pixels import Bytes, Shape
from bench.data.root import cache_home
from bench.errors import DataError
from bench.locks import taken
from bench.suite.units import size_text

_ABOUT = "about.json"
# Linux's, which Python names from 3.13 on; where it means nothing it is passed over.
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)


@dataclass(frozen=True, slots=True)
class Entry:
    """Arrays by name, mapped from files in `folder`, and facts about them (plain data)."""

    folder: Path
    arrays: Mapping[str, Bytes]
    facts: Mapping[str, Any]

    def file(self, name: str) -> Path:
        """The file that an array is mapped from."""
        return _file(self.folder, name)


def folder() -> Path:
    """Where entries lie: in `$BENCH_CACHE`, else in the user's cache directory."""
    return cache_home() / "decoded"


def threshold() -> float:
    """From how many bytes on images are worth a file: `$BENCH_CACHE_FROM_MB` MiB, 64 by default.

    Raises:
        DataError: it is not a number.
    """
    text = os.environ.get("BENCH_CACHE_FROM_MB", "64")
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not found >= 0:
        raise DataError(f"BENCH_CACHE_FROM_MB={text!r}: must be a number of MiB, 0 or more")
    return found * 2**20


def find(name: str) -> Entry | None:
    """The entry of that name; None if it is not there, or not whole."""
    place = folder() / name
    try:
        text, _, digest = (place / _ABOUT).read_text(encoding="utf-8").rpartition("\n")
        if digest != _digest(text):
            return None
        about = json.loads(text)
        arrays = {
            key: mapped(_file(place, key), tuple(shape)) for key, shape in about["shapes"].items()
        }
    except (OSError, ValueError):
        return None
    return Entry(place, arrays, about["facts"])


def made(
    name: str,
    size: int,
    write: Callable[[Path], tuple[Mapping[str, Shape], Mapping[str, Any]]],
    waiting: Callable[[], None] = lambda: None,
) -> Entry:
    """The entry of that name, made if need be by the first process that asks for it.

    Args:
        name: of the entry, good as the name of a folder.
        size: about how many bytes its arrays will have.
        write: writes an `ArrayFile` for each array into a folder; returns the shapes of the
            arrays, and facts about them.
        waiting: is called if another process is making it.

    Raises:
        OSError: the folder cannot be written, or has no room. Others as `write` does.
    """
    place = folder() / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with taken(place.with_name(f"{name}.lock"), waiting):
        if (found := find(name)) is not None:
            return found
        _clear_up(place.parent)
        part = place.with_name(f"{name}.part")
        for left in (part, place):  # of a process that was killed; damaged
            if left.exists():
                shutil.rmtree(left)
        free = shutil.disk_usage(place.parent).free
        if free < size:
            raise OSError(f"{size_text(size)} needed, {size_text(free)} free")
        part.mkdir()
        try:
            shapes, facts = write(part)
            _describe(part, {"shapes": shapes, "facts": facts})
            part.rename(place)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        found = find(name)
    if found is None:
        raise OSError("what was written cannot be read back")
    return found


class ArrayFile:
    """Writes N x C x H x W bytes image by image, as a `pixels.Store`."""

    def __init__(self, place: Path, name: str, shape: Shape) -> None:
        self.shape = shape
        self._file, self._used = _file(place, name), 0
        self._stream = self._file.open("wb")

    def append(self, planes: Bytes) -> None:
        """Write the next image, C x H x W, or 1 x H x W for each channel the same."""
        whole = np.ascontiguousarray(np.broadcast_to(planes, self.shape[1:]))
        self._stream.write(whole.data)
        self._used += 1

    def widen(self) -> None:
        """Write anew what was grey so far, with three channels."""
        self._stream.close()
        grey = self._file.rename(self._file.with_suffix(".grey"))
        done = mapped(grey, (self._used, *self.shape[1:])) if self._used else ()
        self.shape = (self.shape[0], 3, *self.shape[2:])
        self._stream, self._used = self._file.open("wb"), 0
        for image in done:
            self.append(image)
        grey.unlink()

    def array(self) -> Bytes:
        """End writing; return the images, mapped."""
        self._stream.flush()
        # A file that the rename below outlives in a crash would be whole in size only.
        os.fsync(self._stream.fileno())
        self._stream.close()
        return mapped(self._file, self.shape)


def mapped(file: Path, shape: Shape) -> Bytes:
    """Bytes of that shape, mapped from a file: what is written to them stays in this process.

    Raises:
        ValueError: the file has another size. OSError: it cannot be read.
    """
    size = math.prod(shape)
    with file.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size != size:
            raise ValueError(f"{file}: not of {size} bytes")
        return np.frombuffer(_map(stream.fileno(), size), np.uint8).reshape(shape)


def _map(number: int, size: int) -> mmap.mmap:
    if sys.platform != "linux":
        return mmap.mmap(number, size, access=mmap.ACCESS_COPY)
    try:
        # Without NORESERVE, Linux refuses what would not fit into memory if all of it were written.
        return mmap.mmap(
            number,
            size,
            flags=mmap.MAP_PRIVATE | _NORESERVE,
            prot=mmap.PROT_READ | mmap.PROT_WRITE,
        )
    except OSError:  # or counts it all the same (vm.overcommit_memory=2)
        return mmap.mmap(number, size, access=mmap.ACCESS_READ)


def _file(place: Path, name: str) -> Path:
    return place / f"{name}.bytes"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _describe(place: Path, about: Mapping[str, Any]) -> None:
    text = json.dumps(about)
    with (place / _ABOUT).open("w", encoding="utf-8") as stream:
        stream.write(f"{text}\n{_digest(text)}")
        stream.flush()
        os.fsync(stream.fileno())


def _clear_up(place: Path) -> None:
    """Remove what killed processes left of entries that nobody may ask for again."""
    for part in place.glob("*.part"):
        lock = FileLock(part.with_suffix(".lock"))
        with suppress(Timeout, OSError), lock.acquire(timeout=0):
            shutil.rmtree(part, ignore_errors=True)
