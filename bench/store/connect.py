"""Getting at a run directory: its tables, its lock, connections to write or to read only."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import BenchError
from bench.store import files

XZ = b"\xfd7zXZ\x00"  # what a file of `bench pack` begins with
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


def connect(path: Path) -> sqlite3.Connection:
    """A connection to write: every transaction is on the disk when it returns.

    Raises:
        BenchError: not a database.
    """
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.OperationalError:
        connection.close()
        raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        connection.close()
        raise BenchError(_damaged(path, error)) from None
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, also where the folder cannot be written.

    Raises:
        BenchError: not a database, or not readable.
    """
    for mode in ("mode=ro", "immutable=1"):  # a WAL file cannot be read without its shared memory
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?{mode}", uri=True, isolation_level=None, timeout=30
        )
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.OperationalError:
            connection.close()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            connection.close()
            raise BenchError(_damaged(path, error)) from None
        else:
            if mode != "mode=ro" and _has_content(path.with_name(path.name + "-wal")):
                connection.close()
                raise BenchError(
                    f"{path}: its newest rows are in {path.name}-wal, which cannot be read in a "
                    "folder that cannot be written; copy the folder to where it can"
                )
            return connection
    raise BenchError(f"{path}: cannot be read")


def is_there(path: Path) -> bool:
    """Whether a results file is there.

    Raises:
        BenchError: its folder may not be looked into.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror}") from None


def no_run(folder: Path, database: str) -> BenchError:
    """That there is no run at a place, in words."""
    if is_packed(folder):
        return BenchError(f"{folder}: is a packed run; {unpacking(folder)}")
    return BenchError(f"{folder}: no run there (no {database}); name the --out of a `bench run`")


def is_packed(path: Path) -> bool:
    """Whether it is a file that `bench pack` may have made."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return file.read(len(XZ)) == XZ
    except OSError:
        return False


def unpacking(path: Path) -> str:
    """What to do with such a file."""
    return f"`python -m bench unpack {path}` makes a run directory of it"


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Errors of the database in words.

    Raises:
        BenchError: it is damaged, the disk is full, or it cannot be written.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        text = f"{path}: cannot be used: {error}"
        if "no such" in str(error) or "decode" in str(error):
            text = _damaged(path, error)
        elif "full" in str(error) or "disk I/O" in str(error):
            text += "; what was finished is kept: make room and run the same command again"
        raise BenchError(text) from None
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise  # a constraint or a wrong call: a mistake of ours
        raise BenchError(_damaged(path, error)) from None
    except UnicodeDecodeError as error:  # sqlite3 decodes its own error messages
        raise BenchError(_damaged(path, error)) from None


def _damaged(path: Path, error: Exception) -> str:
    said = " ".join(str(error).split())  # it may quote a whole statement
    return (
        f"{path}: damaged, or not a results file ({said}); "
        f"`python -m bench doctor {path.parent} --repair` saves what is whole"
    )


def make_folder_lasting(folder: Path) -> None:
    """Have the entries of a new folder, and its own in its parent, survive a power cut."""
    for place in (folder, folder.resolve().parent):
        files.make_lasting(place)


def locked(folder: Path) -> FileLock:
    """Take the run directory for this process; the system lets go of it when the process ends."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BenchError(
            f"{folder}: another run is at work there; wait for it or choose another --out"
        ) from None
    return lock


def taken(folder: Path, database: str) -> FileLock:
    """Make the run directory if it is new, and take it for this process.

    Raises:
        BenchError: it cannot be written, is something else, or another run is at work there.
    """
    try:
        if folder.exists() and not (folder / database).exists() and any(_strangers(folder)):
            raise BenchError(
                f"{folder}: is not empty and not a run directory; choose another --out, or see "
                f"`python -m bench doctor {folder}` if it was one"
            )
        folder.mkdir(parents=True, exist_ok=True)
        return locked(folder)
    except OSError as error:
        raise BenchError(f"{folder}: cannot be used as a run directory: {error}") from None


def _strangers(folder: Path) -> Iterator[str]:
    """What is in the folder that no run directory has before its database."""
    return (entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))


def require_not_newer(folder: Path, found: object, known: int) -> None:
    """Say so if a run's format is of a later version than the last `known` one.

    Raises:
        BenchError: it is; a format that is no number is left to the caller.
    """
    number = int(found) if isinstance(found, str) and re.fullmatch("[0-9]{1,9}", found) else 0
    if number > known:
        raise BenchError(
            f"{folder}: written by a newer version of topdown-bench (format {found}; this one "
            f"knows {known}); use that version, nothing of the run was changed"
        )
