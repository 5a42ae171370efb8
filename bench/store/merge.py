"""Several runs that measured parts of one suite as one run.

The first run's plan is that of the merged one; of the others come the cells that are planned there,
with the sessions that they were measured in. What is chosen where several have the same cell:
`bench.store.merge_choose`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.fingerprint import difference, is_of_images_alone
from bench.errors import BenchError
from bench.store import files, parts, seals
from bench.store.circumstances import MERGED
from bench.store.connect import SCHEMA, connect, understood
from bench.store.database import FORMAT, NAME
from bench.store.merge_choose import Choice, choice
from bench.store.merge_source import CellRow, Source, content, sessions_with_marks
from bench.store.rebuild import LEFT_OUT
from bench.store.selection import FACT as UNSELECTED

CONTENTS, DEVICE = "contents", "device"
Tuple = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """What was merged: which run each cell is of, by identity, done or failed; the numbers that the
    sessions of each run have now; the runs of half-done cells; lines on what was left out."""

    taken: dict[str, Source]
    done: int
    failed: int
    planned: int
    sessions: dict[tuple[int, int], int]
    halves: dict[str, Source]
    told: list[str]


def merge(sources: Sequence[Source], folder: Path) -> Merged:
    """Write the runs as one into a new, empty folder.

    Raises:
        BenchError: runs that are not parts of one suite, of one kind of device and of the same
            data; a file that has changed since it was looked at.
        OSError: the folder cannot be written.
    """
    _require_one_suite(sources)
    contents = _contents(sources)
    found = choice(sources)
    halves = dict(_halves(found))
    for identity, one in found.taken.items():
        row = found.row(identity)
        if row.file is not None and identity not in one.bare:
            files.write_whole(folder / row.file, _content(one, row))
    for identity, one in halves.items():
        parts.copy(one.folder, folder, identity)
    sessions, rows = _sessions(sources, found)
    facts = _facts(sources, found, contents)
    with understood(folder / NAME):
        db = connect(folder / NAME)
        try:
            _write(db, facts, sources[0], found, sessions, rows)
        finally:
            db.close()
    planned = {row.identity for row in sources[0].planned}
    over = [found.row(identity) for identity in planned & found.taken.keys()]
    done = sum(row.is_done for row in over)
    counts = done, len(over) - done, len(planned)
    return Merged(found.taken, *counts, sessions, halves, found.told)


def _require_one_suite(sources: Sequence[Source]) -> None:
    """What cannot be merged, in a line.

    Raises:
        BenchError: a run has nothing of the first one's plan, or is of another kind of device.
    """
    first, *others = sources
    planned = {row.identity for row in first.planned}
    names = {row.name for row in first.planned}
    for one in others:
        if not (one.cells.keys() & planned or parts.identities(one.folder) & planned):
            mine, other = (run.facts.get("suite", "?") for run in (one, first))
            why = f"it is of suite '{mine}', that one of '{other}'"
            if any(row.name in names for row in one.cells.values()):
                why = "its cells of the same names are of other code, options, recipes or data"
            elif mine == other:
                why = "its suite, of the same name, plans other cells"
            if not one.cells:
                why = "none of its cells is finished"
            raise BenchError(
                f"{one.label}: has no cell that is planned in {first.label} ({why}); leave it out, "
                "or name first the run whose suite has them all"
            )
    known = [one for one in sources if DEVICE in one.facts]  # a repaired run may not tell
    for one in known[1:]:
        kinds = [run.facts[DEVICE] for run in (known[0], one)]
        if kinds[0] != kinds[1]:
            raise BenchError(
                f"{one.label}: was measured on {kinds[1]}, and {known[0].label} on {kinds[0]}; a "
                "run is of one kind of device: leave it out, and compare the two with "
                "`bench compare`"
            )


def _contents(sources: Sequence[Source]) -> dict[str, str]:
    """The fingerprints of the data sets of all runs, by the key of the data set.

    Raises:
        BenchError: two runs saw other images.
    """
    found: dict[str, str] = {}
    for one in sources:
        for key, now in json.loads(one.facts.get(CONTENTS, "{}")).items():
            before = found.setdefault(key, now)
            if is_of_images_alone(before, now):
                found[key] = now
            elif before != now and not is_of_images_alone(now, before):
                what, known, other = difference(before, now)
                raise BenchError(
                    f"{one.label}: was measured on other data than the runs before it: the {what} "
                    f"of a data set differ (content {other}, before {known}); leave it out"
                )
    return found


def _content(one: Source, row: CellRow) -> bytes:
    try:
        return content(one, row)
    except BenchError as error:
        raise BenchError(f"{error}; try again if the run is at work") from None


def _halves(found: Choice) -> Iterator[tuple[str, Source]]:
    """The run whose parts of a cell are taken, where none has finished it: that with most."""
    for identity, runs in found.carried.items():
        one = max(runs, key=lambda run: len(parts.kept(run.folder, identity)), default=None)
        if one is not None and parts.kept(one.folder, identity):
            yield identity, one


def _sessions(
    sources: Sequence[Source], found: Choice
) -> tuple[dict[tuple[int, int], int], list[Tuple]]:
    """The numbers of sessions in the merged run, by run and number there, and their rows: all of
    the first run, and of the others those that something taken was measured in."""
    used = {(one.number, found.row(identity).session) for identity, one in found.taken.items()}
    numbers: dict[tuple[int, int], int] = {}
    known: dict[Tuple, int] = {}
    rows: list[Tuple] = []
    for one in sources:
        for row, mark in sessions_with_marks(one):
            if mark in known:
                numbers[one.number, row[0]] = known[mark]
            elif one.number == 0 or (one.number, row[0]) in used:
                new = row[0] if one.number == 0 else rows[-1][0] + 1
                numbers[one.number, row[0]] = known[mark] = new
                rows.append((new, *row[1:]))
    return numbers, rows


def _facts(sources: Sequence[Source], found: Choice, contents: Mapping[str, str]) -> dict[str, str]:
    first = sources[0]
    facts = {**first.facts, "format": str(FORMAT)}
    for device in {one.facts[DEVICE] for one in sources if DEVICE in one.facts}:  # one at most
        facts[DEVICE] = device
    if contents:
        facts[CONTENTS] = json.dumps(contents, sort_keys=True)
    if UNSELECTED in facts:
        facts[UNSELECTED] = json.dumps(_unselected(sources, found))
    used = {one.number: one for one in found.taken.values()}
    bare = [one for identity, one in found.taken.items() if identity in one.bare]
    facts.pop(LEFT_OUT, None)
    if any(LEFT_OUT in one.facts for one in bare):
        facts[LEFT_OUT] = "yes"
    if used.keys() - {0}:
        facts[MERGED] = "yes"
    return facts


def _unselected(sources: Sequence[Source], found: Choice) -> list[str]:
    """The cells that every run left out with --only, or had not planned."""
    first, *others = sources
    asked = {*found.taken}
    for one in others:
        left_out = {*json.loads(one.facts.get(UNSELECTED, "[]"))}
        asked |= {row.identity for row in one.planned} - left_out
    return [one for one in json.loads(first.facts[UNSELECTED]) if one not in asked]


def _write(
    db: sqlite3.Connection,
    facts: Mapping[str, str],
    first: Source,
    found: Choice,
    numbers: Mapping[tuple[int, int], int],
    sessions: Sequence[Tuple],
) -> None:
    """Write the results file in one transaction."""
    db.execute("BEGIN")
    for statement in SCHEMA.split(";"):
        db.execute(statement)
    _insert(db, "facts", facts.items())
    _insert(db, "planned", first.planned)
    _insert(db, "sessions", sessions)
    for identity, one in found.taken.items():
        row = found.row(identity)
        _insert(db, "cells", [row._replace(session=numbers[one.number, row.session])])
        _insert(db, "metrics", one.metrics.get(identity, ()))
    seals.seal_all(db)
    db.execute("COMMIT")


def _insert(db: sqlite3.Connection, table: str, rows: Any) -> None:
    for row in rows:
        marks = ", ".join("?" * len(row))
        db.execute(f"INSERT INTO {table} VALUES ({marks})", tuple(row))  # noqa: S608
