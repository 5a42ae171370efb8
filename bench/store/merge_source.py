"""A run that is to be merged with others: everything that is whole in it, as of one moment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.store import files
from bench.store.check import FILES, damaged_files
from bench.store.database import NAME, Store
from bench.store.read import Reading, read
from bench.store.rebuild import LEFT_OUT
from bench.store.seals import CELLS, Broken, metrics_of

EMPTY = (0.0, None, "{}")  # of a session whose record is lost
Tuple = tuple[Any, ...]


class CellRow(NamedTuple):
    """A row of the table of cells."""

    identity: str
    name: str
    status: str
    session: int
    started: float
    seconds: float
    cpu_seconds: float
    error_kind: str | None
    error: str | None
    traceback: str | None
    file: str | None
    sha256: str | None
    facts: str

    @property
    def is_done(self) -> bool:
        """Whether it has a result; else it failed."""
        return self.status == "done"


class Planned(NamedTuple):
    """A row of the table of planned cells."""

    position: int
    identity: str
    name: str
    dataset: str
    backbone: str
    variant: str
    seed: int
    measure: str


@dataclass(frozen=True, slots=True)
class Source:
    """A run by its place among those that are merged, and `label` as its user named it.

    `cells` (by identity), `metrics` and `sessions` are those that are whole; `damage` says what
    is not, as `bench doctor` does. `bare` are the trainings whose weights are not there.
    """

    number: int
    label: str
    folder: Path
    facts: dict[str, str]
    planned: list[Planned]
    cells: dict[str, CellRow]
    metrics: dict[str, list[Tuple]]
    sessions: list[Tuple]
    damage: list[str]
    bare: frozenset[str]


def source(number: int, label: str, folder: Path) -> Source:
    """Read a run, at work or not, and look at its files. Nothing is written.

    Raises:
        BenchError: there is no run, nothing was run there, or its tables of facts or of planned
            cells are damaged.
    """
    store = Store.open(folder)
    try:
        reading = read(store)
        with store.snapshot() as db:
            broken = store.broken()
            planned = [Planned(*row) for row in store.tuples("SELECT * FROM planned ORDER BY 1")]
            cells = {row[0]: CellRow(*row) for row in store.tuples(CELLS)}
            metrics = metrics_of(db)
            sessions = store.tuples("SELECT * FROM sessions ORDER BY id")
            facts = store.facts()
            names = {row.identity: row.name for row in cells.values()}
            names |= {row.identity: row.name for row in planned}
            wrong = _wrong(store, reading, broken)
            weights = {identity: text for identity, _, text in damaged_files(store, "weights")}
            gone = {i for i, _, file, _ in store.tuples(FILES) if not os.path.exists(folder / file)}
    finally:
        store.close()
    damage = [
        f"DAMAGE  {label}: {names.get(identity, identity)}: {text}; it is left out"
        for identity, text in wrong.items()
    ]
    cells = {i: row for i, row in cells.items() if i not in wrong}
    kept = {row[0]: row for row in sessions if row[0] not in broken.sessions}
    changed = dict.fromkeys(broken.sessions, "was changed")
    gone_sessions = {row.session: "is gone" for row in cells.values()}
    for session, what in sorted((gone_sessions | changed).items()):
        if session not in kept:
            text = f"the record of session {session} {what}; it is emptied"
            damage.append(f"DAMAGE  {label}: {NAME}: {text}")
            kept[session] = session, *EMPTY
    for identity, text in weights.items():
        if identity not in gone or LEFT_OUT not in facts:
            word = "note  " if identity in gone else "DAMAGE"
            text = f"{word}  {label}: {names[identity]}: {text}; what needs it trains again"
            damage.append(text)
    return Source(
        number,
        label,
        folder,
        facts,
        planned,
        cells,
        metrics,
        [kept[session] for session in sorted(kept)],
        damage,
        frozenset(weights),
    )


def _wrong(store: Store, reading: Reading, broken: Broken) -> dict[str, str]:
    """What is wrong with damaged cells, by identity; lost weights are not."""
    found = {**broken.cells, **reading.damaged}
    skip = {*found, *reading.sound}
    return found | {i: text for i, _, text in damaged_files(store, "arrays", skip=skip)}


def content(one: Source, row: CellRow) -> bytes:
    """The file of a cell.

    Raises:
        BenchError: it is not what was recorded, having changed since it was looked at.
    """
    return files.verified(one.folder / str(row.file), str(row.sha256))


def searches(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """The searches of the first run's plan, as that tells them or, where it was repaired and does
    not, the next one that tells any."""
    told = (json.loads(one.facts["searches"]) for one in sources if "searches" in one.facts)
    planned = {row.identity for row in sources[0].planned}
    return [one for one in next(told, ()) if planned.issuperset(one["trials"])]


def sessions_with_marks(one: Source) -> Iterator[tuple[Tuple, Tuple]]:
    """The sessions with what tells them from all others, in whatever run they stand: their start
    and record; of emptied ones how many of those came before."""
    seen: dict[Tuple, int] = {}
    for row in one.sessions:
        key = row[1], row[3]
        seen[key] = seen.get(key, 0) + 1
        yield row, (*key, seen[key])
