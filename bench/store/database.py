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

from filelock import FileLock

from bench.errors import BenchError
from bench.store import files
from bench.store.connect import SCHEMA, connect, connect_to_read, locked, strangers
from bench.store.outcome import Outcome

FORMAT = 1
NAME = "results.sqlite"
# Parts of the page that need not be made again; may be deleted.
KEPT = "kept"


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
            if folder.exists() and not path.exists() and any(strangers(folder)):
                raise BenchError(
                    f"{folder}: is not empty and not a run directory; choose another --out"
                )
            folder.mkdir(parents=True, exist_ok=True)
            lock = locked(folder)
            files.sweep(folder)
            store = cls(folder, connect(path), lock)
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
        store = cls(folder, connect_to_read(path))
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

    def tuples(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """As `rows`, as plain tuples: quicker, where there are a hundred thousand."""
        cursor = self._db.cursor()
        cursor.row_factory = None
        return cursor.execute(sql, values).fetchall()

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

    def clear(self) -> None:
        """Take back everything that was measured; files that are not ours stay."""
        with self.transaction():
            for table in ("metrics", "cells", "planned", "sessions"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608
            self._db.execute("DELETE FROM facts WHERE key != 'format'")
        for kind in ("weights", "arrays"):
            for path in (self.folder / kind).glob("*.safetensors"):
                path.unlink()

    def forget_lost_files(self) -> None:
        """Take back the cells whose arrays are gone, so that they are done again."""
        folder = self.folder / "arrays"
        there = {f"arrays/{name}" for name in (os.listdir(folder) if folder.is_dir() else ())}
        rows = self._query("SELECT identity, file FROM cells WHERE file LIKE 'arrays/%'")
        for row in rows:
            if row["file"] not in there:
                self.forget(row["identity"])

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
