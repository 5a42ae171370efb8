"""Logs of a run, as JSON lines: `logs/run.jsonl` of the whole, `logs/<identity>.jsonl` of a cell.

Every line has `time` (UTC, for people; durations are measured by another clock) and `event`. The
run's log has one line when a cell starts and one when it ends; a cell's has its progress, warnings,
finished parts, numbers and traceback too. Logs follow what is recorded and are never read to decide
anything; if they cannot be written, the run goes on without.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.run.events import CellFinished, CellPart, CellProgress, CellStarted, CellWarning, Event
from bench.store.files import LOGS, cell_log
from bench.store.outcome import Outcome

RUN = "run.jsonl"
LOST = "cell_lost"
# Seconds between two lines of a cell's progress, and where a cell's log ends to have any.
PACE, ROOM = 2.0, 1_000_000


class RunLog:
    """Writes what happens in one session; a context manager around it, and called on events."""

    def __init__(self, folder: Path, session: int, **circumstances: object) -> None:
        self._folder = folder
        self._circumstances = {"session": session, **circumstances}
        self._told: dict[str, float] = {}
        self._broken = False
        self._started = time.monotonic()

    def __enter__(self) -> RunLog:
        self._add(RUN, "session_started", self._circumstances)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        more = {"seconds": round(time.monotonic() - self._started, 3)}
        why = {} if kind is None else {"reason": kind.__name__, "message": str(error)}
        self._add(RUN, "session_ended" if kind is None else "session_broken_off", {**more, **why})

    def __call__(self, event: Event) -> None:
        cell = {"cell": event.cell.name, "identity": event.cell.identity}
        own = f"{event.cell.identity}.jsonl"
        match event:
            case CellStarted():
                self._add(RUN, "cell_started", cell)
                self._add(own, "cell_started", cell)
            case CellProgress(_, share, text):
                if self._is_due(event.cell.identity, share, own):
                    self._add(own, "progress", {"share": round(share, 4), "text": text})
            case CellWarning(_, text):
                self._add(RUN, "warning", {**cell, "text": text})
                self._add(own, "warning", {"text": text})
            case CellPart(_, name, _):
                self._add(own, "part_finished", {"part": name})
            case CellFinished(_, outcome):
                self._told.pop(event.cell.identity, None)
                name, short, whole = _ended(outcome)
                self._add(own, name, {**short, **whole})
                log = {"log": cell_log(event.cell.identity)} if outcome.error else {}
                self._add(RUN, name, {**cell, **short, **log})

    def _is_due(self, identity: str, share: float, own: str) -> bool:
        now = time.monotonic()
        if share < 1 and now - self._told.get(identity, -PACE) < PACE:
            return False
        self._told[identity] = now
        try:
            return (self._folder / LOGS / own).stat().st_size < ROOM
        except OSError:
            return True

    def _add(self, file: str, event: str, more: Mapping[str, object]) -> None:
        if self._broken:
            return
        path = self._folder / LOGS / file
        try:
            _append(path, event, more)
        except OSError as error:
            self._broken = True
            print(f"{path}: no log is written any more: {error}", file=sys.stderr)


def _append(path: Path, event: str, more: Mapping[str, object]) -> None:
    line = json.dumps({"time": _now(), "event": event, **more}, default=str)
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a log; what a power cut left half-written is passed over."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def finished(folder: Path) -> dict[str, str]:
    """Names of the cells that a run's log tells to have been done, by identity; without those
    whose result it tells to be lost since."""
    found: dict[str, str] = {}
    for entry in lines(folder / LOGS / RUN):
        identity = str(entry.get("identity"))
        if entry.get("event") == "cell_done" and "identity" in entry:
            found[identity] = str(entry.get("cell"))
        elif entry.get("event") == LOST:
            found.pop(identity, None)
    return found


def note_lost(folder: Path, identity: str, name: str) -> None:
    """Add to a run's log that the result of a cell, done before, is there no more.

    Raises:
        OSError: the log cannot be written.
    """
    _append(folder / LOGS / RUN, LOST, {"cell": name, "identity": identity})


def _ended(outcome: Outcome) -> tuple[str, dict[str, object], dict[str, object]]:
    """The event's name, what both logs tell of a cell's end, and what its own tells besides."""
    spent: dict[str, object] = {
        "seconds": round(outcome.seconds, 3),
        "cpu_seconds": round(outcome.cpu_seconds, 3),
    }
    if outcome.error is None:
        # As text: JSON has no infinity, which a distance may be.
        return "cell_done", spent, {"metrics": {k: repr(v) for k, v in outcome.metrics.items()}}
    error = {"error": outcome.error.kind, "message": outcome.error.message}
    return "cell_failed", {**spent, **error}, {"traceback": outcome.error.traceback}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
