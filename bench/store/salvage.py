"""Saving what is whole of a damaged results file.

The damaged file is kept beside the new one. A cell is taken over if its row, its metrics and its
seal can all be read and fit; what is lost is to be done again.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.store import files, seals
from bench.store.connect import SCHEMA, make_folder_lasting
from bench.store.database import FORMAT, NAME
from bench.store.files import KINDS
from bench.store.rebuild import rebuild

NEW = ".new"
DAMAGED = ".damaged-"  # and a number
WIDTHS = {"facts": 2, "planned": 8}  # columns
_BESIDE = ("", "-wal", "-shm")


# sqlite3 decodes its own messages, which may quote what is damaged.
UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
Tuple = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Saved:
    """What came of it: how many cells were saved, and of how many that are known of (`exact`: there
    were no more); where the damaged file is now, if there was one; what is lost of its tables."""

    cells: int
    known: int
    exact: bool
    aside: Path | None
    tables: str

    @property
    def lost(self) -> bool:
        """Whether something measured is lost, as far as can be told."""
        return self.cells < self.known or not self.exact


def salvage(folder: Path) -> Saved:
    """Replace the results file of a run by one with what is whole. The folder must be locked.

    Raises:
        OSError: the folder cannot be written.
    """
    aside = _copy_aside(folder)
    fresh = folder / f"{NAME}{NEW}"
    fresh.unlink(missing_ok=True)
    old, new = _plain(aside) if aside else sqlite3.connect(":memory:"), _plain(fresh)
    try:
        sealed, exact = _read(old, "seals", "kind, key", 3)
        known = {key for kind, key, _ in sealed if kind == "cell"}
        known |= {key for (key,) in _some(old, "SELECT identity FROM cells")}
        new.execute("PRAGMA synchronous = FULL")
        new.execute("BEGIN")
        saved = _move(old, new, {key: digest for kind, key, digest in sealed if kind == "cell"})
        tables = _move_tables(old, new, sealed, folder)
        new.execute("COMMIT")
    finally:
        old.close()
        new.close()
    for ending in _BESIDE[1:]:
        (folder / f"{NAME}{ending}").unlink(missing_ok=True)
    fresh.replace(folder / NAME)
    make_folder_lasting(folder)
    if not exact:
        known |= {path.stem for kind in KINDS for path in (folder / kind).glob("*.safetensors")}
    return Saved(saved, len(known), exact, aside, tables)


def _copy_aside(folder: Path) -> Path | None:
    """A copy of the damaged file with what belongs to it; None if there is none."""
    if not (folder / NAME).exists():
        return None
    number = 1
    while (aside := folder / f"{NAME}{DAMAGED}{number}").exists():
        number += 1
    for ending in _BESIDE:
        source = folder / f"{NAME}{ending}"
        if source.exists():
            shutil.copyfile(source, folder / f"{aside.name}{ending}")
            files.make_lasting(folder / f"{aside.name}{ending}")
    return aside


def _plain(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    # Text that is no UTF-8 any more does not fit its seal, but must not end the search either.
    connection.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
    return connection


def _move(old: sqlite3.Connection, new: sqlite3.Connection, sealed: Mapping[str, str]) -> int:
    """Take over the cells that fit their digests, and give their number: without one it cannot be
    told whether a row is whole."""
    for statement in SCHEMA.split(";"):
        new.execute(statement)
    new.execute("INSERT INTO facts VALUES ('format', ?)", (str(FORMAT),))
    seals.seal_all(new)
    saved = 0
    for identity, seal in sealed.items():
        rows = _some(old, "SELECT * FROM cells WHERE identity = ?", identity)
        metrics = _some(old, "SELECT * FROM metrics WHERE identity = ? ORDER BY metric", identity)
        if len(rows) == 1 and seals.digest(rows[0], metrics or ()) == seal:
            _insert(new, "sessions", [_session(old, rows[0][3])])
            _insert(new, "cells", rows)
            _insert(new, "metrics", metrics)
            seals.seal_cell(new, identity)
            saved += 1
    for (session,) in _some(new, "SELECT id FROM sessions"):
        seals.seal_session(new, session)
    return saved


def _move_tables(
    old: sqlite3.Connection, new: sqlite3.Connection, sealed: Iterable[Tuple], folder: Path
) -> str:
    """Facts and planned cells, as far as they are known; what is lost of them, in words."""
    digests = {key: digest for kind, key, digest in sealed if kind == "table"}
    rows = {t: _read(old, t, order, WIDTHS[t])[0] for t, order in seals.TABLES.items()}
    broken = [t for t, found in rows.items() if digests.get(t) != seals.digest(found)]
    told = rebuild(new, folder, broken, rows["facts"], rows["planned"])
    return told.text if broken else ""


def _session(old: sqlite3.Connection, number: int) -> Tuple:
    """A cell's session, without its provenance if that is not whole."""
    rows = _some(old, "SELECT * FROM sessions WHERE id = ?", number)
    sealed = _some(old, "SELECT digest FROM seals WHERE kind = 'session' AND key = ?", str(number))
    if rows and sealed == [(seals.digest(rows[0]),)]:
        return rows[0]
    return (number, 0.0, None, "{}")


def _insert(db: sqlite3.Connection, table: str, rows: Iterable[Tuple]) -> None:
    for row in rows:
        marks = ", ".join("?" * len(row))
        db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608


def _read(db: sqlite3.Connection, table: str, order: str, width: int) -> tuple[list[Tuple], bool]:
    """What can be read of a table of so many columns from its beginning, and then from its end; and
    whether that is all of it."""
    found: dict[Tuple, None] = {}
    for direction in ("ASC", "DESC"):
        keys = ", ".join(f"{key} {direction}" for key in order.split(", "))
        try:
            for row in db.execute(f"SELECT * FROM {table} ORDER BY {keys}"):  # noqa: S608
                if len(row) == width:  # else it is no table of ours
                    found[row] = None
        except UNREADABLE:
            continue
        if direction == "ASC":
            return [*found], True
    return [*found], False


def _some(db: sqlite3.Connection, sql: str, *values: object) -> list[Tuple]:
    try:
        return db.execute(sql, values).fetchall()
    except UNREADABLE:
        return []
