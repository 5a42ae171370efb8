"""A run as one file: to hand it on, to keep beside its page, to go on elsewhere.

The archive is a tar file compressed with xz. It holds the results file as it is at one moment and
the arrays that belong to it, checked as they are read; figures, logs and half-done parts are made
anew. Weights, which are most of a run, may be left out: what needs them trains again.
"""

from __future__ import annotations

import io
import lzma
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.errors import BenchError
from bench.store import files
from bench.store.check import damaged_files
from bench.store.connect import XZ, connect_to_read, understood
from bench.store.database import NAME, Store
from bench.store.fresh import made_whole
from bench.store.rebuild import LEFT_OUT
from bench.store.volumes import Joined, cut, volumes
from bench.suite.units import size_text

SUFFIX = ".tar.xz"
_MEMBER = re.compile(rf"{re.escape(NAME)}|(?:arrays|weights)/[0-9a-f]+\.safetensors")
_READ = 2**20  # bytes at once: each time the part is opened anew
# Runs are packed to a tenth or less of their size, nothing but zeros to a 7,000th.
_PLAUSIBLE = 1000
_SMALL = 2**30  # bytes that are never too many
_RESERVE = 2**26  # bytes of the disk that others may need meanwhile
_HEADER = 2**22  # bytes of a header at most: they are read into memory
_NAMED = "SELECT file, sha256 FROM cells WHERE file IS NOT NULL ORDER BY file"


def pack(folder: Path, archive: Path, weights: bool = True, limit: int | None = None) -> list[Path]:
    """Write a run, at work or not, as one file that is either whole or not there.

    Args:
        folder: the run directory.
        archive: the file to write; an older archive of a run is replaced, in parts or not.
        weights: whether those of the trainings come along.
        limit: bytes of a file; what is larger becomes `archive.001`, `archive.002` and on.

    Returns:
        What was written: the file, or its parts.

    Raises:
        BenchError: there is no run, or one of its files or tables is gone or damaged; `archive` is
            there and is something else.
        OSError: the archive cannot be written.
    """
    Store.open(folder).close()  # tells what is wrong with it
    older = _older(archive)
    archive.parent.mkdir(parents=True, exist_ok=True)
    aside = archive.with_name(archive.name + files.PART)
    try:
        with tempfile.TemporaryDirectory() as temporary, tarfile.open(aside, "w:xz") as out:
            copy = Path(temporary)
            _snapshot(folder, copy, weights)
            _add(out, NAME, (copy / NAME).read_bytes())
            for name, data in _files_of(copy, folder, weights):
                _add(out, name, data)
        if limit is None or aside.stat().st_size <= limit:
            files.make_lasting(aside)
            aside.replace(archive)
            made = [archive]
        else:
            made = cut(aside, archive, limit)
        files.make_lasting(archive.parent)
    finally:
        aside.unlink(missing_ok=True)
    for path in older - set(made):
        path.unlink()
    return made


def _older(archive: Path) -> set[Path]:
    """The files that a new archive replaces.

    Raises:
        BenchError: something of that name is there and no archive of a run.
    """
    parts = volumes(archive.with_name(f"{archive.name}.001"))
    for found in ([archive] if archive.exists() else [], parts):
        if found and not _is_archive(found):
            raise BenchError(
                f"{found[0]}: exists and is not an archive of a run; "
                "name another file with --out, or move that one away"
            )
    return {*parts, archive} if archive.exists() else {*parts}


def _is_archive(parts: list[Path]) -> bool:
    """Whether a file is one that `pack` made, as far as its beginning tells; it may be damaged."""
    if not all(path.is_file() for path in parts):  # a pipe would be waited for
        return False
    with parts[0].open("rb") as file:
        if file.read(len(XZ)) != XZ:
            return False
    try:
        with _opened(parts) as found:
            first = found.next()
    except (tarfile.TarError, lzma.LZMAError, EOFError):
        return True
    return first is not None and first.name == NAME


def _opened(parts: list[Path]) -> tarfile.TarFile:
    plain = _Cautious(io.BufferedReader(Joined(parts), _READ))
    return tarfile.open(fileobj=plain, mode="r:")


class _Cautious(lzma.LZMAFile):
    """A file of which no more is read at once than any part of a run needs: a header may say that
    it has gigabytes."""

    def read(self, size: int | None = -1) -> bytes:
        """At most so many bytes.

        Raises:
            tarfile.ReadError: it is more than a run has a use for.
        """
        if size is None or not 0 <= size <= _HEADER:
            raise tarfile.ReadError(f"a header of {size_text(size or 0)}")
        return super().read(size)


def _snapshot(folder: Path, copy: Path, weights: bool) -> None:
    """The results file as it is now, without what a writer still has in its log."""
    connection = connect_to_read(folder / NAME)
    try:
        with understood(folder / NAME):
            connection.execute("VACUUM INTO ?", (str(copy / NAME),))
    finally:
        connection.close()
    store = Store.create_or_open(copy)
    if broken := store.broken_tables():  # what is written below would make them look whole
        store.close()
        raise BenchError(
            f"{folder / NAME}: the table {' and the table '.join(broken)} is damaged; "
            f"`python -m bench doctor {folder} --repair` rebuilds what is known of it, then pack it"
        )
    # Where the suite lay is nobody else's business, and nothing lies there elsewhere.
    store.set_facts({"base": "", **({} if weights else {LEFT_OUT: "yes"})})
    store.close()


def _files_of(copy: Path, folder: Path, weights: bool) -> Iterator[tuple[str, bytes]]:
    store = Store.open(copy)
    try:
        named = store.tuples(_NAMED)
        left_out = LEFT_OUT in store.facts()
    finally:
        store.close()
    for name, sha256 in named:
        of_weights = name.startswith("weights/")
        if of_weights and (not weights or (left_out and not (folder / name).exists())):
            continue
        try:
            yield name, files.verified(folder / name, sha256)
        except BenchError as error:
            hint = f"`python -m bench doctor {folder} --repair`, then run its suite again"
            raise BenchError(f"{error}; {hint}, or try again if the run is at work") from None


def _add(out: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # of nobody and no time: only what was measured is in it
    member.size = len(data)
    out.addfile(member, io.BytesIO(data))


def unpack(archive: Path, folder: Path) -> None:
    """Make a run directory of an archive: whole, or not there.

    Args:
        archive: the file, also where only its parts are there, or one of its parts.
        folder: the run directory to make.

    Raises:
        BenchError: the folder is there already, or the file is no archive of a run, is damaged,
            holds anything else, or more than there is room for.
        OSError: the folder cannot be written.
    """
    if folder.exists():
        raise BenchError(f"{folder}: is there already; name another folder with --out")
    with made_whole(folder) as aside:
        _extract(archive, aside)
        try:
            store = Store.open(aside)
        except BenchError as error:  # of a folder that nobody sees, with nothing to be repaired
            said = str(error).replace(str(aside / NAME), NAME).replace(f"{aside}: ", "")
            raise BenchError(f"{archive}: {said.partition('; `')[0]}") from None
        try:
            left_out = LEFT_OUT in store.facts()
            for kind in ("arrays", "weights"):
                for _, name, _ in damaged_files(store, kind):
                    if not (kind == "weights" and left_out):
                        raise BenchError(f"{archive}: damaged: {name} is not as it was written")
        finally:
            store.close()


def _extract(archive: Path, folder: Path) -> None:
    parts = volumes(archive)
    if not parts:
        raise BenchError(f"{archive}: no such file; it is made by `bench pack RUN`")
    for part in parts:
        _require_readable(part)
    packed = sum(part.stat().st_size for part in parts)
    try:
        with _opened(parts) as source:
            for member in source:
                if not member.isreg() or not _MEMBER.fullmatch(member.name):
                    raise BenchError(
                        f"{archive}: holds '{member.name}', which is no part of a run; it was not "
                        "made by `bench pack`"
                    )
                # With the headers, which are all that many empty members have.
                size = member.offset_data + member.size
                if size > max(_SMALL, _PLAUSIBLE * packed):
                    raise BenchError(
                        f"{archive}: holds {size_text(size)} or more, over {_PLAUSIBLE:,} times "
                        "its size, which no run is; it was not made by `bench pack`"
                    )
                if member.size + _RESERVE > shutil.disk_usage(folder).free:
                    raise BenchError(
                        f"{archive}: {member.name} in it has {size_text(member.size)}, and there "
                        "is no room for that on the disk; make some, or name a folder on another "
                        "disk with --out"
                    )
                _write(source, member, folder / member.name)
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise BenchError(f"{archive}: damaged, or no archive of a run ({error})") from None
    if not (folder / NAME).is_file():
        raise BenchError(f"{archive}: no archive of a run (no {NAME} in it)")


def _require_readable(part: Path) -> None:
    if part.is_dir():
        raise BenchError(
            f"{part}: is a folder, not a file of `bench pack`; a run directory needs no unpacking"
        )
    try:
        part.open("rb").close()
    except OSError as error:
        raise BenchError(f"{part}: cannot be read: {error.strerror}") from None


def _write(source: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """As any file that is made here: who may read it is a matter of the user's umask."""
    data = source.extractfile(member)
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        if data is not None:  # as of all regular files
            shutil.copyfileobj(data, file)
