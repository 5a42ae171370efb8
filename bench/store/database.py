"""The run's SQLite file: cells, metrics, sessions. A cell is a row only once it is finished."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.errors import BenchError
from bench.store import files
from bench.store.outcome import Outcome

FORMAT = 1
NAME = "results.sqlite"

SCHEMA = """
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions (id INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL,
    provenance TEXT NOT NULL);
CREATE TABLE planned (position INTEGER PRIMARY KEY, identity TEXT NOT NULL, name TEXT NOT NULL,
    dataset TEXT NOT NULL, backbone TEXT NOT NULL, variant TEXT NOT NULL, seed INTEGER NOT NULL,
    measure TEXT NOT NULL);
CREATE TABLE cells (identity TEXT PRIMARY KEY, name TEXT NOT NULL, status TEXT NOT NULL
    CHECK (status IN ('done', 'failed')), session INTEGER NOT NULL REFERENCES sessions(id),
    started REAL NOT NULL, seconds REAL NOT NULL, cpu_seconds REAL NOT NULL,
    error_kind TEXT, error TEXT, traceback TEXT,
    file TEXT, sha256 TEXT, facts TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE metrics (identity TEXT NOT NULL REFERENCES cells(identity) ON DELETE CASCADE,
    position INTEGER NOT NULL, metric TEXT NOT NULL, value REAL NOT NULL, unit TEXT NOT NULL,
    info TEXT NOT NULL, PRIMARY KEY (identity, metric)) WITHOUT ROWID;
CREATE VIEW tidy AS SELECT p.dataset, p.backbone, p.variant, p.seed, p.measure, m.metric, m.value,
    m.unit FROM planned p JOIN metrics m USING (identity) ORDER BY p.position, m.position;
"""


class Store:
    """One run directory, open for one driver at a time (readers may look on)."""

    def __init__(
        self, folder: Path, connection: sqlite3.Connection, lock: FileLock | None = None
    ) -> None:
        self.folder = folder
        self._db = connection
        self._lock = lock

    @classmethod
    def create_or_open(cls, folder: Path) -> Store:
        """Open a run directory for writing, making it if it is new.

        Raises:
            BenchError: not writable, not a run directory, of another format, or damaged.
        """
        path = folder / NAME
        try:
            if folder.exists() and not path.exists() and any(_strangers(folder)):
                raise BenchError(
                    f"{folder}: is not empty and not a run directory; choose another --out"
                )
            folder.mkdir(parents=True, exist_ok=True)
            lock = _locked(folder)
            files.sweep(folder)
            store = cls(folder, _connect(path), lock)
            store._prepare()
        except (OSError, sqlite3.OperationalError) as error:
            raise BenchError(f"{folder}: cannot be used as a run directory: {error}") from None
        return store

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open an existing run for reading.

        Raises:
            BenchError: there is no run, or it is damaged.
        """
        path = folder / NAME
        if not path.is_file():
            raise BenchError(f"{folder}: no run there (no {NAME}); name the --out of a `bench run`")
        store = cls(folder, _connect(path))
        store._check_format()
        return store

    def _prepare(self) -> None:
        if not self._query("SELECT name FROM sqlite_master WHERE name = 'facts'"):
            with self.transaction():
                for statement in SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute("INSERT INTO facts VALUES ('format', ?)", (str(FORMAT),))
        self._check_format()

    def _check_format(self) -> None:
        try:
            found = self.facts().get("format")
        except sqlite3.DatabaseError as error:
            raise BenchError(f"{self.folder / NAME}: not a results file: {error}") from None
        if found != str(FORMAT):
            raise BenchError(f"{self.folder}: written by another version (format {found})")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and on the disk when it returns."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _query(self, sql: str, *values: object) -> list[sqlite3.Row]:
        return self._db.execute(sql, values).fetchall()

    def close(self) -> None:
        """Close the file."""
        self._db.close()
        if self._lock is not None:
            self._lock.release()

    # What is there -------------------------------------------------------------------------

    def facts(self) -> dict[str, str]:
        """Facts about the whole run: format, device kind, suite name, plan."""
        return {row["key"]: row["value"] for row in self._query("SELECT key, value FROM facts")}

    def statuses(self) -> dict[str, str]:
        """`done` or `failed` for the identity of every finished cell."""
        return dict(self._db.execute("SELECT identity, status FROM cells").fetchall())

    def finished(self, identity: str) -> sqlite3.Row | None:
        """The row of one finished cell."""
        rows = self._query("SELECT * FROM cells WHERE identity = ?", identity)
        return rows[0] if rows else None

    def is_whole(self, identity: str) -> bool:
        """Whether the file of a finished cell is there and is what was written."""
        row = self.finished(identity)
        if row is None or row["file"] is None:
            return row is not None
        try:
            files.verified(self.folder / row["file"], row["sha256"])
        except BenchError:
            return False
        return True

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Rows of a reading query."""
        return self._query(sql, *values)

    def file_of(self, identity: str, kind: str) -> Path:
        """Where a cell's arrays or weights are, relative to the run directory."""
        return Path(kind) / f"{identity}.safetensors"

    # What is written -----------------------------------------------------------------------

    def set_facts(self, facts: Mapping[str, str]) -> None:
        """Record facts about the whole run."""
        with self.transaction():
            self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())

    def set_plan(
        self, digest: str, cells: Iterable[tuple[str, str, str, str, str, int, str]]
    ) -> None:
        """Record which cells (identity, name, dataset, backbone, variant, seed, measure) the run
        consists of now; results of cells that are no longer planned stay but are not shown."""
        if self.facts().get("plan") == digest:
            return
        with self.transaction():
            self._db.execute("DELETE FROM planned")
            self._db.executemany(
                "INSERT INTO planned VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                ((position, *cell) for position, cell in enumerate(cells)),
            )
            self._db.execute("INSERT OR REPLACE INTO facts VALUES ('plan', ?)", (digest,))

    def begin(self, provenance: Mapping[str, Any]) -> int:
        """Open a session: one invocation of `run` with its circumstances."""
        with self.transaction():
            cursor = self._db.execute(
                "INSERT INTO sessions (started, provenance) VALUES (?, ?)",
                (time.time(), json.dumps(provenance, sort_keys=True)),
            )
        return int(cursor.lastrowid or 0)

    def end(self, session: int) -> None:
        """Close a session that ran to its end."""
        with self.transaction():
            self._db.execute("UPDATE sessions SET ended = ? WHERE id = ?", (time.time(), session))

    def record(self, session: int, identity: str, name: str, outcome: Outcome) -> None:
        """Record a finished cell: first its file, whole and synced, then the row that names it."""
        relative, checksum = self._write_file(identity, outcome)
        error = outcome.error
        with self.transaction():
            self._db.execute("DELETE FROM metrics WHERE identity = ?", (identity,))
            self._db.execute(
                "INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    identity,
                    name,
                    "failed" if error else "done",
                    session,
                    outcome.started,
                    outcome.seconds,
                    outcome.cpu_seconds,
                    error.kind if error else None,
                    error.message if error else None,
                    error.traceback if error else None,
                    relative,
                    checksum,
                    json.dumps(dict(outcome.facts), sort_keys=True),
                ),
            )
            self._db.executemany(
                "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)",
                (
                    _metric_row(identity, i, metric, outcome)
                    for i, metric in enumerate(outcome.metrics)
                ),
            )

    def forget(self, identity: str) -> None:
        """Take a cell's result back (its file was found damaged), so that it is done again."""
        with self.transaction():
            self._db.execute("DELETE FROM metrics WHERE identity = ?", (identity,))
            self._db.execute("DELETE FROM cells WHERE identity = ?", (identity,))

    def _write_file(self, identity: str, outcome: Outcome) -> tuple[str | None, str | None]:
        if outcome.weights is not None:
            relative = self.file_of(identity, "weights")
            facts = {"identity": identity, **outcome.facts}
            checksum = files.write_weights(self.folder / relative, outcome.weights, facts)
        elif outcome.arrays:
            relative = self.file_of(identity, "arrays")
            checksum = files.write_arrays(self.folder / relative, outcome.arrays)
        else:
            return None, None
        return relative.as_posix(), checksum


def _metric_row(
    identity: str, position: int, metric: str, outcome: Outcome
) -> tuple[str, int, str, float, str, str]:
    whole, bracket, _ = metric.partition("[")
    info = outcome.infos.get(metric) or outcome.infos.get(whole)
    unit, shown = "", "{}"
    if info is not None:
        if bracket:  # a part of a declared metric, like one class's accuracy: no column of its own
            info = replace(info, title=metric, headline=False)
        fields = {name: getattr(info, name) for name in info.__dataclass_fields__}
        unit, shown = info.unit, json.dumps(fields, sort_keys=True)
    return identity, position, metric, outcome.metrics[metric], unit, shown


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.OperationalError:
        connection.close()
        raise
    except sqlite3.DatabaseError as error:
        connection.close()
        raise BenchError(f"{path}: not a results file: {error}") from None
    return connection


def _locked(folder: Path) -> FileLock:
    """Take the run directory for this process; the system lets go of it when the process ends."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BenchError(
            f"{folder}: another run is at work there; wait for it or choose another --out"
        ) from None
    return lock


def _strangers(folder: Path) -> Iterator[str]:
    """What is in the folder that no run directory has before its database."""
    return (entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
