"""Seals: a digest of what was recorded, kept beside it, so that a changed row is noticed.

SQLite checks neither the values in its rows nor that a row is still there. So every cell with its
metrics has a digest, and so have the tables of facts and of planned cells and every session,
written in the same transaction. A row that was changed, cut or removed by anything but the store
no longer fits its seal. Seals are against damage, not against forgery.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any

SCHEMA = """CREATE TABLE IF NOT EXISTS seals (kind TEXT NOT NULL, key TEXT NOT NULL,
    digest TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID"""
TABLES = {"facts": "key", "planned": "position"}  # sealed as a whole, in this order

CELLS = "SELECT * FROM cells ORDER BY identity"
METRICS = "SELECT * FROM metrics ORDER BY identity, metric"
PUT = "INSERT OR REPLACE INTO seals VALUES (?, ?, ?)"
Metrics = dict[str, list[tuple[Any, ...]]]
CHANGED = "what is recorded of it was changed"
GONE = "its record is gone"


@dataclass(frozen=True, slots=True)
class Broken:
    """What does not fit its seal: identities of cells with what is wrong, names of tables, numbers
    of sessions; `lost_sessions` are those whose record is gone. `metrics` are those of all cells by
    identity, as they were looked at: a hundred thousand rows need not be read again."""

    cells: dict[str, str] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    sessions: list[int] = field(default_factory=list)
    lost_sessions: list[int] = field(default_factory=list)
    metrics: Metrics = field(default_factory=dict)


def metrics_of(db: sqlite3.Connection) -> Metrics:
    """The rows of the table of metrics by the identity of their cell, in the order of names."""
    found: Metrics = {}
    for row in _tuples(db, METRICS):
        found.setdefault(row[0], []).append(row)
    return found


def seal_cell(db: sqlite3.Connection, identity: str) -> None:
    """Seal a finished cell with its metrics, as the database gives them back."""
    row, metrics = _cell(db, identity)
    db.execute(PUT, ("cell", identity, digest(row, metrics)))


def unseal_cell(db: sqlite3.Connection, identity: str) -> None:
    """The cell is to be forgotten."""
    db.execute("DELETE FROM seals WHERE kind = 'cell' AND key = ?", (identity,))


def seal_table(db: sqlite3.Connection, table: str) -> None:
    """Seal a whole table, `facts` or `planned`."""
    db.execute(PUT, ("table", table, _table(db, table)))


def seal_session(db: sqlite3.Connection, session: int) -> None:
    """Seal one session."""
    (row,) = _tuples(db, "SELECT * FROM sessions WHERE id = ?", session)
    db.execute(PUT, ("session", str(session), digest(row)))


def seal_all(db: sqlite3.Connection) -> None:
    """Seal everything as it is: of a run that an earlier version recorded without seals."""
    db.execute(SCHEMA)
    for (identity,) in _tuples(db, "SELECT identity FROM cells"):
        seal_cell(db, identity)
    for table in TABLES:
        seal_table(db, table)
    for (session,) in _tuples(db, "SELECT id FROM sessions"):
        seal_session(db, session)


def broken(db: sqlite3.Connection) -> Broken:
    """Everything that does not fit its seal."""
    metrics = metrics_of(db)
    cells = _broken_cells(db, metrics)
    return Broken(cells, broken_tables(db), *_broken_sessions(db, cells), metrics)


def _broken_cells(db: sqlite3.Connection, metrics: Metrics) -> dict[str, str]:
    """The identities of cells that do not fit their seal, with what is wrong; also those whose
    metrics or seal is there and whose row is not."""
    sealed = _sealed(db, "cell")
    alone = set(metrics)
    found = {}
    for row in _tuples(db, CELLS):
        if sealed.pop(row[0], None) != digest(row, metrics.get(row[0], ())):
            found[row[0]] = CHANGED
        alone.discard(row[0])
    return {**found, **dict.fromkeys([*sealed, *(one for one in metrics if one in alone)], GONE)}


def cell_is_whole(db: sqlite3.Connection, identity: str) -> bool:
    """Whether one recorded cell fits its seal."""
    seal = _tuples(db, "SELECT digest FROM seals WHERE kind = 'cell' AND key = ?", identity)
    row, metrics = _cell(db, identity)
    return [(digest(row, metrics),)] == seal


def broken_tables(db: sqlite3.Connection) -> list[str]:
    """Which of `facts` and `planned` do not fit their seal."""
    sealed = _sealed(db, "table")
    return [table for table in TABLES if sealed.get(table) != _table(db, table)]


def _broken_sessions(db: sqlite3.Connection, cells: Container[str]) -> tuple[list[int], list[int]]:
    """The numbers of sessions that do not fit their seal, and of those whose record is gone: their
    seal is there, or one of their cells, but for the broken `cells`."""
    sealed = _sealed(db, "session")
    rows = _tuples(db, "SELECT * FROM sessions ORDER BY id")
    changed = [row[0] for row in rows if sealed.get(str(row[0])) != digest(row)]
    # Damaged, a key may be anything.
    known = {int(key) for key in sealed if re.fullmatch("[1-9][0-9]{0,8}", str(key))}
    named = _tuples(db, "SELECT identity, session FROM cells")
    known |= {session for identity, session in named if identity not in cells}
    return changed, sorted(known - {row[0] for row in rows})


def digest(*parts: object) -> str:
    """SHA-256 over rows as Python writes them: every bit of a number counts, and its type."""
    return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()


def _cell(db: sqlite3.Connection, identity: str) -> tuple[Any, Iterable[Any]]:
    rows = _tuples(db, "SELECT * FROM cells WHERE identity = ?", identity)
    query = "SELECT * FROM metrics WHERE identity = ? ORDER BY metric"
    # `()` as in `broken_cells`, where a cell has none.
    return (rows or [None])[0], _tuples(db, query, identity) or ()


def _table(db: sqlite3.Connection, table: str) -> str:
    query = f"SELECT * FROM {table} ORDER BY {TABLES[table]}"  # noqa: S608
    return digest(_tuples(db, query))


def _sealed(db: sqlite3.Connection, kind: str) -> dict[str, str]:
    return dict(_tuples(db, "SELECT key, digest FROM seals WHERE kind = ?", kind))


def _tuples(db: sqlite3.Connection, sql: str, *values: object) -> list[Any]:
    cursor = db.cursor()
    cursor.row_factory = None
    return cursor.execute(sql, values).fetchall()
