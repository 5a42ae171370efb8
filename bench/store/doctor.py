"""Is a run directory whole? Looks at every row and every file, and mends what can be mended.

Mending never invents a result: what is damaged is forgotten, so that the next run does it again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock

from bench.errors import BenchError
from bench.store import files, parts, seals
from bench.store.check import damaged_files
from bench.store.connect import SCHEMA, connect_to_read, is_there, locked, no_run, require_not_newer
from bench.store.database import FORMAT, NAME, UNSEALED, Store
from bench.store.files import KINDS as FOLDERS
from bench.store.read import read
from bench.store.rebuild import LEFT_OUT
from bench.store.salvage import DAMAGED, salvage

ORPHANS = "orphans"
AGAIN = "the next `bench run` does it again"
ANEW = "the next `bench run` writes it anew"
# Of weights: a finished run does without.
NEEDED = "what needs it trains again"
TAKEN_BACK = f"its training is taken back, and {AGAIN}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. `harmless`: nothing measured is affected. `remedy`
    says what `mend` does, or what becomes of it where there is nothing to mend (None); `without`
    what becomes of it where it is not mended (empty: nothing)."""

    text: str
    remedy: str
    mend: Callable[[], object] | None = None
    harmless: bool = False
    without: str = ""


@dataclass(frozen=True, slots=True)
class Mended:
    """What `mend` came to, where only it can tell. `lost`: not all that was measured is there."""

    remedy: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding, and whether it was mended; `remedy` is what was done, or what is to be done."""

    finding: Finding
    mended: bool
    remedy: str
    lost: bool = False

    @property
    def is_damage(self) -> bool:
        """Whether something measured is affected, still."""
        return self.lost or not (self.mended or self.finding.harmless)


def examine(folder: Path, repair: bool) -> Iterator[Seen]:
    """Yield what is found in a run directory, each mended at once if `repair`.

    Raises:
        BenchError: there is no run, another run is at work, or it is of a later version.
        OSError: the folder cannot be written, which mending needs.
    """
    lock = _lock(folder, repair)
    try:
        for finding in _database(folder):
            yield seen(finding, repair)
            if not repair:
                return  # what the rows say cannot be believed
        for finding in [*_unsealed(folder), *_halves(folder)]:
            yield seen(finding, repair)
        store = Store.create_or_open(folder, lock) if repair else Store.open(folder)
        try:
            for finding in _findings(store):
                yield seen(finding, repair)
        finally:
            store.close()
    finally:
        if lock is not None:
            lock.release()


def seen(finding: Finding, repair: bool) -> Seen:
    """The finding, mended if `repair` asks for that and there is something to mend."""
    if repair and finding.mend is not None:
        done = finding.mend()
        if isinstance(done, Mended):
            return Seen(finding, True, done.remedy, done.lost)
        return Seen(finding, True, finding.remedy)
    remedy = finding.remedy
    if finding.mend is not None:
        remedy = finding.without or f"with --repair {remedy}"
    return Seen(finding, False, remedy)


def _lock(folder: Path, repair: bool) -> FileLock | None:
    """The lock of the folder; None where it cannot be written, if it need not be."""
    if not folder.is_dir() or not (
        is_there(folder / NAME) or any((folder / kind).is_dir() for kind in FOLDERS)
    ):
        raise no_run(folder, NAME)
    try:
        return locked(folder)
    except OSError:
        if repair:
            raise
        return None


def _database(folder: Path) -> Iterator[Finding]:
    """What is wrong with the results file as a whole; at most one finding."""
    path = folder / NAME
    wrong = _wrong_with(path)
    if wrong:
        yield Finding(
            f"{path}: {wrong}",
            f"what is whole is saved into a new {NAME}",
            partial(_salvage, folder),
        )


def _salvage(folder: Path) -> Mended:
    saved = salvage(folder)
    least = "" if saved.exact else "at least "
    text = f"what is whole is saved into a new {NAME}: {saved.cells} of {least}{saved.known} cells"
    if saved.aside is not None:
        text += f", the damaged one stays beside it as {saved.aside.name}"
    if saved.cells:  # else there is nothing that a plan could be of
        text = "; ".join(filter(None, (text, saved.tables)))
    return Mended(text, saved.lost)


def _wrong_with(path: Path) -> str:
    if not path.exists():
        return "is gone, but not the files of its cells"
    try:
        connection = connect_to_read(path)
    except BenchError as error:
        if "-wal" in str(error):
            raise
        return str(error).removeprefix(f"{path}: ").partition("; `python")[0]
    try:
        return _wrong_within(connection, path)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        return f"damaged, or not a results file ({' '.join(str(error).split())})"
    finally:
        connection.close()


def _wrong_within(connection: sqlite3.Connection, path: Path) -> str:
    lines = [row[0] for row in connection.execute("PRAGMA integrity_check(1)")]
    if lines != ["ok"]:
        return f"damaged ({' '.join(lines[0].split())})"
    found = dict(connection.execute("SELECT key, value FROM facts").fetchall()).get("format")
    known = (str(FORMAT), str(UNSEALED))
    require_not_newer(path.parent, found, FORMAT)
    if found not in known:
        return "damaged (it has no format)"
    for table, columns in _columns(found != str(UNSEALED)).items():
        listed = connection.execute(f"PRAGMA table_info({table})").fetchall()
        if [row[1] for row in listed] != columns:
            return f"damaged (there is no table {table} as it must be)"
        for _ in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608
            pass  # text that is no text is told here
    return ""


def _columns(sealed: bool) -> dict[str, list[str]]:
    """The names of the columns of every table."""
    memory = sqlite3.connect(":memory:")
    memory.executescript(SCHEMA + (seals.SCHEMA if sealed else ""))
    tables = memory.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    found = {
        name: [row[1] for row in memory.execute(f"PRAGMA table_info({name})")] for (name,) in tables
    }
    memory.close()
    return found


def _unsealed(folder: Path) -> Iterator[Finding]:
    store = Store.open(folder)
    sealed = store.sealed
    store.close()
    if not sealed:
        text = f"{folder / NAME}: its rows have no digests, being of an earlier version"
        # Opening it to write gives them some.
        yield Finding(text, "they get some", lambda: None, harmless=True)


def _move(path: Path, aside: Path) -> None:
    """A training is dear, and somebody may have the rows that named it."""
    aside.parent.mkdir(parents=True, exist_ok=True)
    path.replace(aside)


def _halves(folder: Path) -> Iterator[Finding]:
    for path in files.half_written(folder):
        text = f"{path}: half-written by an interrupted run"
        yield Finding(text, "it is removed", path.unlink, harmless=True)


def _findings(store: Store) -> Iterator[Finding]:
    yield from _rows(store)
    yield from _files(store)
    yield from _arrays(store)
    yield from _left_over(store)


def _rows(store: Store) -> Iterator[Finding]:
    path, broken = store.folder / NAME, store.broken()
    names = dict(store.tuples("SELECT identity, name FROM cells"))
    names |= dict(store.tuples("SELECT identity, name FROM planned"))
    for table in broken.tables:
        text = f"{path}: the table {table} was changed"
        yield Finding(text, ANEW, partial(_mend_tables, store), without=ANEW)
    for session in broken.sessions:
        text = f"{path}: the record of session {session} was changed"
        yield Finding(text, "it is emptied", partial(store.empty_session, session))
    for session in broken.lost_sessions:
        text = f"{path}: the record of session {session} is gone"
        without = "how its cells were measured is not known any more; their results count"
        fix = partial(store.empty_session, session)
        yield Finding(text, "an empty one takes its place", fix, without=without)
    for identity, wrong in broken.cells.items():
        text = f"{path}: {names.get(identity, identity)}: {wrong}"
        yield Finding(text, AGAIN, partial(store.forget, identity), without=AGAIN)


def _mend_tables(store: Store) -> Mended:
    return Mended(store.mend_tables().text or "it is mended with the other one")


def _files(store: Store) -> Iterator[Finding]:
    left_out = 0
    for folder in FOLDERS:
        for identity, name, wrong in damaged_files(store, folder):
            gone = not (store.folder / files.cell_file(identity, folder)).exists()
            if folder == "weights" and gone and LEFT_OUT in store.facts():
                left_out += 1
                continue
            drop = partial(store.forget, identity)
            if folder == "weights":
                without = f"{NEEDED}; with --repair {TAKEN_BACK}"
                yield Finding(f"{name}: {wrong}", TAKEN_BACK, drop, harmless=gone, without=without)
            else:
                yield Finding(f"{name}: {wrong}", AGAIN, drop, without=AGAIN)
    if left_out:
        text = f"{store.folder}: packed without weights (trainings without: {left_out})"
        yield Finding(text, "what needs them trains again", harmless=True)


def _arrays(store: Store) -> Iterator[Finding]:
    """Arrays that are as they were written and still no result."""
    try:
        damaged = read(store).damaged
    except BenchError:  # no plan: nothing to read them by
        return
    broken = {*store.broken().cells, *(one[0] for one in damaged_files(store, "arrays"))}
    for identity, wrong in damaged.items():
        if identity not in broken:
            yield Finding(wrong, AGAIN, partial(store.forget, identity), without=AGAIN)


def _left_over(store: Store) -> Iterator[Finding]:
    """Files that belong to no finished cell, in order."""
    named = {row[0] for row in store.tuples("SELECT file FROM cells WHERE file IS NOT NULL")}
    # Where the results file was lost, they may be all that is left of it.
    alone = not store.statuses() or any(store.folder.glob(f"{NAME}{DAMAGED}*"))
    advice = "" if alone else ", which may be deleted"
    for kind in FOLDERS:
        for path in sorted((store.folder / kind).glob("*.safetensors")):
            if f"{kind}/{path.name}" not in named:
                text = f"{path}: belongs to no finished cell (interrupted, or its row is lost)"
                aside = store.folder / ORPHANS / kind / path.name
                yield Finding(
                    text,
                    f"it is moved to {ORPHANS}/{kind}/{advice}",
                    partial(_move, path, aside),
                    harmless=True,
                )
    for path in parts.damaged(store.folder):
        text = f"{path}: damaged part of an interrupted cell"
        yield Finding(text, "it is removed and measured again", path.unlink)
    done = {key for key, status in store.statuses().items() if status == "done"}
    for identity in sorted(done & parts.identities(store.folder)):
        text = f"{store.folder / parts.FOLDER / identity}: parts of a cell that is finished"
        drop = partial(parts.drop, store.folder, identity)
        yield Finding(text, "they are removed", drop, harmless=True)
