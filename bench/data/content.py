"""What identifies a folder of own files: names and bytes of those that are read."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.data.root import cache_home
from bench.errors import DataError
from bench.suite.units import size_text

_AT_ONCE = 256  # files that a thread reads before it takes others
_WORTH_A_WORD = 2**30
# A file that is written twice within a tick of the file system's clock has one time for both.
_TICK_NS = 2 * 10**9


def folder_key(folder: Path, suffixes: Collection[str]) -> str:
    """A hash over relative path and content of the data files of a folder.

    Data files have one of the `suffixes` and are not hidden, nor in a hidden folder; what lies
    behind a link counts as if it lay there. A copy of the folder has the same key.

    All files are read, once: the key is kept in the user's cache directory for as long as names,
    sizes and times of the files are the same.

    Raises:
        DataError: a file cannot be read.
    """
    listed = _listed(folder, suffixes)
    known = _Known(listed)
    found = known.key() or _key(listed)
    known.keep(found)
    return found


def key_by_times(folder: Path, suffixes: Collection[str]) -> str:
    """What earlier versions took for the key of a folder of images: names, sizes and times."""
    listed = _listed(folder, suffixes)
    total = hashlib.sha256()
    for name, stat in zip(listed.names, listed.stats, strict=True):
        total.update(f"{name}\0{(stat.st_size, stat.st_mtime_ns)!r}\0".encode())
    return total.hexdigest()[:20]


@dataclass(frozen=True)
class _Listed:
    """The data files of a folder, sorted: paths, names relative to it, and their states."""

    folder: Path
    paths: Sequence[Path]
    names: Sequence[str]
    stats: Sequence[os.stat_result]

    @cached_property
    def stamp(self) -> str:
        """Changes with names, sizes and times of the files; also with the time that the system
        gives a change of any kind, for archives may give all files one time."""
        total = hashlib.sha256()
        for name, stat in zip(self.names, self.stats, strict=True):
            state = stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
            total.update(f"{name}\0{state!r}\0".encode(errors="surrogateescape"))
        return total.hexdigest()

    @property
    def newest(self) -> int:
        return max((max(stat.st_mtime_ns, stat.st_ctime_ns) for stat in self.stats), default=0)


def _listed(folder: Path, suffixes: Collection[str]) -> _Listed:
    paths = sorted(path for path in _data_files(folder) if path.suffix.lower() in suffixes)
    names = [path.relative_to(folder).as_posix() for path in paths]
    return _Listed(folder, paths, names, [path.stat() for path in paths])


def _key(listed: _Listed) -> str:
    size = sum(stat.st_size for stat in listed.stats)
    if size >= _WORTH_A_WORD:
        print(
            f"reading {len(listed.paths):,} files of {listed.folder} ({size_text(size)}) once, to "
            "know them again",
            file=sys.stderr,
            flush=True,
        )
    parts = [listed.paths[at : at + _AT_ONCE] for at in range(0, len(listed.paths), _AT_ONCE)]
    total = hashlib.sha256()
    names = iter(listed.names)
    # Threads wait for disks and networks together; hashing does not hold the interpreter either.
    with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as pool:
        for digests in pool.map(_digests, parts):
            for digest in digests:
                total.update(f"{next(names)}\0{digest}\0".encode(errors="surrogateescape"))
    return total.hexdigest()[:20]


def _digests(paths: Sequence[Path]) -> list[str]:
    return [_digest(path) for path in paths]


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


class _Known:
    """The key of a folder as it was found last, in a small file of the cache directory."""

    def __init__(self, listed: _Listed) -> None:
        place = hashlib.sha256(os.fsencode(listed.folder.resolve())).hexdigest()[:24]
        self._file = cache_home() / "folders" / place
        self._stamp, self._newest = listed.stamp, listed.newest
        self._found: str | None = None

    def key(self) -> str | None:
        """None if the files are not those of last time, as far as their states tell."""
        with suppress(OSError, ValueError):
            stamp, key = self._file.read_text(encoding="ascii").split()
            if stamp == self._stamp:
                self._found = key
        return self._found

    def keep(self, key: str) -> None:
        """Nothing is kept where the cache cannot be written: files are read again then."""
        if key == self._found or time.time_ns() - self._newest < _TICK_NS:
            return
        part = self._file.with_name(f"{self._file.name}.{os.getpid()}.part")
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(f"{self._stamp} {key}\n", encoding="ascii")
            part.replace(self._file)


def _data_files(folder: Path) -> Iterator[Path]:
    """The files below a folder that are not hidden, through links to folders."""
    for place, folders, files in os.walk(folder, followlinks=True):
        here = os.path.realpath(place)
        folders[:] = [
            name
            for name in folders
            # A link back to a folder around this one would lead in a circle.
            if not name.startswith(".") and not _is_around(os.path.join(place, name), here)
        ]
        paths = (Path(place, name) for name in files if not name.startswith("."))
        yield from (path for path in paths if path.is_file())


def _is_around(link: str, place: str) -> bool:
    return os.path.islink(link) and Path(place).is_relative_to(os.path.realpath(link))
