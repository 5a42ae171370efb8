"""Whether a results file that is open is still the one at its path."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bench.errors import BenchError

_GONE = "it or its folder was moved, replaced or deleted while the run was at work"


class InPlace:
    """SQLite goes on writing into a file that nobody finds any more, and folders would be made
    anew: a run that is at work must notice.

    The file is known by its inode. Some file systems, over networks or in user space, give a file
    another one after a while; then it is known by a mark that is written into the open one.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path, self._db = path, connection
        self._inode = path.stat().st_ino

    @contextmanager
    def required(self) -> Iterator[None]:
        """Write within it only while the file that is open is the one at its path.

        Raises:
            BenchError: another file is there, or none; or one that is just written is gone.
        """
        if not self._is_there():
            raise self._moved()
        try:
            yield
        except FileNotFoundError as error:  # just now
            if self._is_there():
                text = f"{error.filename}: {_GONE}; what was finished is kept"
                raise BenchError(f"{text}: run the same command again") from None
            raise self._moved() from None

    def _is_there(self) -> bool:
        try:
            inode = self._path.stat().st_ino
        except OSError:
            return False
        if inode != self._inode and not self._has_mark():
            return False
        self._inode = inode
        return True

    def _has_mark(self) -> bool:
        """Whether the file at the path shows what is written into the open one now: not a copy of
        it, which may have its log beside it."""
        mark = 1 + secrets.randbelow(2**31 - 1)
        try:
            self._db.execute(f"PRAGMA user_version = {mark}")
            try:
                self._db.execute("PRAGMA wal_checkpoint(FULL)")  # out of the log, into the file
                address = f"{self._path.resolve().as_uri()}?immutable=1"  # without the log
                with closing(sqlite3.connect(address, uri=True)) as other:
                    found = other.execute("PRAGMA user_version").fetchone()
            finally:
                self._db.execute("PRAGMA user_version = 0")
        except (sqlite3.Error, UnicodeDecodeError):
            return False
        return bool(found == (mark,))

    def _moved(self) -> BenchError:
        return BenchError(
            f"{self._path}: {_GONE}; put it back, or name its new folder with --out, and run the "
            "same command again"
        )
