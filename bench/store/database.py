"""The run's SQLite file: cells, metrics, sessions. A cell is a row only once it is finished."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench.errors import BenchError
from bench.store import files, parts, rows, seals
from bench.store.connect import (
    SCHEMA,
    connect,
    connect_to_read,
    is_there,
    make_folder_lasting,
    no_run,
    require_not_newer,
    taken,
    understood,
)
from bench.store.in_place import InPlace
from bench.store.outcome import Outcome
from bench.store.rebuild import Rebuilt, rebuild

FORMAT = 2
UNSEALED = 1  # the format before rows had seals: can be read, and is sealed when it is written to
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
        self._place = InPlace(folder / NAME, connection) if lock else None

    @classmethod
    def create_or_open(cls, folder: Path, lock: FileLock | None = None) -> Store:
        """Open a run directory for writing, making it if it is new; `lock` is its lock, if that is
        held already.

        Raises:
            BenchError: not writable, not a run directory, of another format, or damaged.
        """
        lock = lock or taken(folder, NAME)
        try:
            files.sweep(folder)
            store = cls(folder, connect(folder / NAME), lock)
            store._prepare()
        except BaseException as error:
            lock.release()
            if isinstance(error, OSError | sqlite3.OperationalError):
                text = f"{folder}: cannot be used as a run directory: {error}"
                raise BenchError(text) from None
            raise
        return store

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open an existing run for reading.

        Raises:
            BenchError: there is no run, or it is damaged.
        """
        path = folder / NAME
        if not is_there(path):
            raise no_run(folder, NAME)
        store = cls(folder, connect_to_read(path))
        try:
            store._check_format()
        except BenchError:
            store.close()
            raise
        return store

    def _prepare(self) -> None:
        if not self._query("SELECT name FROM sqlite_master"):
            with self.transaction():
                for statement in SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute("INSERT INTO facts VALUES ('format', ?)", (str(FORMAT),))
                seals.seal_all(self._db)
            # The folder's entry of the file, and that of the folder, must survive a power cut too.
            make_folder_lasting(self.folder)
        self._check_format()
        if not self.sealed:
            with self.transaction():
                self._db.execute("UPDATE facts SET value = ? WHERE key = 'format'", (str(FORMAT),))
                seals.seal_all(self._db)

    def _check_format(self) -> None:
        found = self.facts().get("format")
        if found not in (str(FORMAT), str(UNSEALED)):
            require_not_newer(self.folder, found, FORMAT)
            text = f"{self.folder}: its {NAME} is damaged (format {found!r})"
            raise BenchError(f"{text}; `python -m bench doctor {self.folder}` tells more")

    @property
    def sealed(self) -> bool:
        """Whether rows have seals; not in runs of earlier versions that are only read."""
        return self.tuples("SELECT value FROM facts WHERE key='format'") != [(str(UNSEALED),)]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and on the disk when it returns.

        Raises:
            BenchError: the disk is full, or the file is damaged or not there any more.
        """
        with self.in_place(), understood(self.folder / NAME):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk ends it by itself
                    self._db.execute("ROLLBACK")
                raise

    def in_place(self) -> AbstractContextManager[None]:
        """For writing files into the folder, which may have been moved under a run at work."""
        return self._place.required() if self._place else nullcontext()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Everything read within is of one moment, whatever a run writes meanwhile."""
        with understood(self.folder / NAME):
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _query(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with understood(self.folder / NAME):
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
        return dict(self.tuples("SELECT identity, status FROM cells"))

    def finished(self, identity: str) -> sqlite3.Row | None:
        """The row of one finished cell."""
        found = self._query("SELECT * FROM cells WHERE identity = ?", identity)
        return found[0] if found else None

    def is_whole(self, identity: str) -> bool:
        """Whether a finished cell's record and its file are there and are what was written."""
        row = self.finished(identity)
        if row is None or (self.sealed and not seals.cell_is_whole(self._db, identity)):
            return False
        if row["file"] is None:
            return True
        try:
            files.verified(self.folder / row["file"], row["sha256"])
        except BenchError:
            return False
        return True

    def lost(self) -> set[str]:
        """The identities of the cells whose arrays are gone."""
        folder = self.folder / "arrays"
        there = {f"arrays/{name}" for name in (os.listdir(folder) if folder.is_dir() else ())}
        found = self._query("SELECT identity, file FROM cells WHERE file LIKE 'arrays/%'")
        return {row["identity"] for row in found if row["file"] not in there}

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """Rows of a reading query."""
        return self._query(sql, *values)

    def tuples(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """As `rows`, as plain tuples: quicker, where there are a hundred thousand."""
        cursor = self._db.cursor()
        cursor.row_factory = None
        with understood(self.folder / NAME):
            return cursor.execute(sql, values).fetchall()

    # What is written -----------------------------------------------------------------------

    def set_facts(self, facts: Mapping[str, str]) -> None:
        """Record facts about the whole run."""
        with self.transaction():
            self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())
            seals.seal_table(self._db, "facts")

    def set_plan(
        self, digest: str, cells: Iterable[tuple[str, str, str, str, str, int, str]]
    ) -> None:
        """Record which cells (identity, name, dataset, backbone, variant, seed, measure) the run
        consists of now; results of cells that are no longer planned stay but are not shown."""
        if self.facts().get("plan") == digest and not self.broken_tables():
            return
        with self.transaction():
            self._db.execute("DELETE FROM planned")
            self._db.executemany(
                "INSERT INTO planned VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                ((position, *cell) for position, cell in enumerate(cells)),
            )
            self._db.execute("INSERT OR REPLACE INTO facts VALUES ('plan', ?)", (digest,))
            for table in seals.TABLES:
                seals.seal_table(self._db, table)

    def broken_tables(self) -> list[str]:
        """Which of the tables `facts` and `planned` are damaged."""
        with understood(self.folder / NAME):
            return seals.broken_tables(self._db) if self.sealed else []

    def broken(self) -> seals.Broken:
        """Everything that does not fit its seal; and all metrics, which are read for it."""
        with understood(self.folder / NAME):
            if self.sealed:
                return seals.broken(self._db)
            return seals.Broken(metrics=seals.metrics_of(self._db))

    def mend_tables(self) -> Rebuilt:
        """Rebuild the tables of facts and planned cells, if one of them is damaged, as far as they
        are known; the next run writes them anew."""
        broken = self.broken_tables()
        if not broken:
            return Rebuilt([], "")
        facts, planned = (self.tuples(f"SELECT * FROM {t} ORDER BY 1") for t in seals.TABLES)  # noqa: S608
        with self.transaction():
            return rebuild(self._db, self.folder, broken, facts, planned)

    def begin(self, provenance: Mapping[str, Any]) -> int:
        """Open a session: one invocation of `run` with its circumstances."""
        with self.transaction():
            cursor = self._db.execute(
                # Not the number of one whose record is lost: its cells are not of this session.
                "INSERT INTO sessions (id, started, provenance) SELECT 1 + coalesce(max(id), 0), "
                "?, ? FROM (SELECT id FROM sessions UNION ALL SELECT session FROM cells) "
                "WHERE id < 1000000000",  # a damaged number may be anything
                (time.time(), json.dumps(provenance, sort_keys=True)),
            )
            session = int(cursor.lastrowid or 0)
            seals.seal_session(self._db, session)
        return session

    def end(self, session: int) -> None:
        """Close a session that ran to its end."""
        with self.transaction():
            self._db.execute("UPDATE sessions SET ended = ? WHERE id = ?", (time.time(), session))
            seals.seal_session(self._db, session)

    def empty_session(self, session: int) -> None:
        """Take back the circumstances of a session (their record was found damaged or
        gone)."""
        with self.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO sessions VALUES (?, 0, NULL, '{}')", (session,)
            )
            seals.seal_session(self._db, session)

    def record(self, session: int, identity: str, name: str, outcome: Outcome) -> None:
        """Record a finished cell: first its file, whole and synced, then the row that names it."""
        with self.in_place():
            relative, checksum = rows.write_file(self.folder, identity, outcome)
        row = rows.cell_row(session, identity, name, outcome, relative, checksum)
        with self.transaction():
            self._db.execute("DELETE FROM metrics WHERE identity = ?", (identity,))
            self._db.execute(
                "INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row
            )
            self._db.executemany(
                "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows.metric_rows(identity, outcome)
            )
            seals.seal_cell(self._db, identity)

    def clear(self) -> None:
        """Take back everything that was measured; files that are not ours stay."""
        with self.transaction():
            for table in ("metrics", "cells", "planned", "sessions", "seals"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608
            self._db.execute("DELETE FROM facts WHERE key != 'format'")
            seals.seal_all(self._db)
        for pattern in ("weights/*.safetensors", "arrays/*.safetensors", "logs/*.jsonl"):
            for path in self.folder.glob(pattern):
                path.unlink()
        parts.drop_all(self.folder)

    def forget(self, *identities: str) -> None:
        """Take the results of cells back, so that they are done again; their files stay."""
        with self.transaction():
            for identity in identities:
                self._db.execute("DELETE FROM metrics WHERE identity = ?", (identity,))
                self._db.execute("DELETE FROM cells WHERE identity = ?", (identity,))
                seals.unseal_cell(self._db, identity)
