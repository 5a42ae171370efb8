"""Saving what is whole of a damaged results file.

The damaged file is kept beside the new one. A cell is taken over if its row, its metrics and its
seal can all be read and fit; what is lost is simply to be done again.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.store import seals
from bench.store.connect import SCHEMA, make_lasting
from bench.store.database import FORMAT, NAME

NEW = ".new"
_BESIDE = ("", "-wal", "-shm")


# sqlite3 decodes its own messages, which may quote what is damaged.
UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
Tuple = tuple[Any, ...]


def salvage(folder: Path) -> tuple[int, Path]:
    """Replace the results file of a run by one with what is whole; gives the number of cells that
    were saved and where the damaged file is now. The folder must be locked.

    Raises:
        OSError: the folder cannot be written.
    """
    aside = _copy_aside(folder)
    fresh = folder / f"{NAME}{NEW}"
    fresh.unlink(missing_ok=True)
    old, new = _plain(aside), _plain(fresh)
    try:
        saved = _move(old, new)
    finally:
        old.close()
        new.close()
    for ending in _BESIDE[1:]:
        (folder / f"{NAME}{ending}").unlink(missing_ok=True)
    fresh.replace(folder / NAME)
    make_lasting(folder)
    return saved, aside


def _copy_aside(folder: Path) -> Path:
    number = 1
    while (aside := folder / f"{NAME}.damaged-{number}").exists():
        number += 1
    for ending in _BESIDE:
        source = folder / f"{NAME}{ending}"
        if source.exists():
            shutil.copyfile(source, folder / f"{aside.name}{ending}")
            with open(folder / f"{aside.name}{ending}", "rb") as stream:
                os.fsync(stream.fileno())
    return aside


def _plain(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    # Text that is no UTF-8 any more does not fit its seal, but must not end the search either.
    connection.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
    return connection


def _move(old: sqlite3.Connection, new: sqlite3.Connection) -> int:
    new.execute("PRAGMA synchronous = FULL")
    new.execute("BEGIN")
    for statement in SCHEMA.split(";"):
        new.execute(statement)
    new.execute("INSERT INTO facts VALUES ('format', ?)", (str(FORMAT),))
    seals.seal_all(new)
    _move_tables(old, new)
    # Without a seal it cannot be told whether a row is whole.
    sealed = {key: digest for kind, key, digest in _seals(old) if kind == "cell"}
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
    new.execute("COMMIT")
    return saved


def _move_tables(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Facts and planned cells, if both are whole; the next run writes them anew otherwise."""
    try:
        if seals.broken_tables(old):
            return
        for table in seals.TABLES:
            rows = old.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
            new.execute(f"DELETE FROM {table}")  # noqa: S608
            _insert(new, table, rows)
    except UNREADABLE:
        return
    for table in seals.TABLES:
        seals.seal_table(new, table)


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


def _seals(db: sqlite3.Connection) -> Iterator[Tuple]:
    """What can be read of the seals from the beginning of their table, and then from its end."""
    for direction in ("ASC", "DESC"):
        query = f"SELECT * FROM seals ORDER BY kind {direction}, key {direction}"  # noqa: S608
        try:
            yield from db.execute(query)
            return
        except UNREADABLE:
            continue


def _some(db: sqlite3.Connection, sql: str, *values: object) -> list[Tuple]:
    try:
        return db.execute(sql, values).fetchall()
    except UNREADABLE:
        return []
