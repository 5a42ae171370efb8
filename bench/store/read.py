"""From a run directory to `leaderboard.Results`."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.store import files
from bench.store.circumstances import mixed_precisions, noted, timed_on
from bench.store.circumstances import shown as _provenance
from bench.store.database import NAME, Store
from bench.store.outcome import WITHOUT_ARRAYS, error_text
from bench.store.seals import Broken, Metrics
from bench.store.selection import not_selected
from bench.store.tuned import searches
from leaderboard.results import (
    AttackInfo,
    Claim,
    Failure,
    Learned,
    Localized,
    MetricInfo,
    Missing,
    Removed,
    Results,
    Row,
    Sample,
)

PLANNED = """SELECT identity, dataset, backbone, variant, seed, measure FROM planned
    WHERE measure NOT LIKE 'tune/%' ORDER BY position"""
NAMES = "SELECT identity, name FROM planned"
_POSITION = itemgetter(1)
FAILED = """SELECT p.*, c.error_kind, c.error FROM planned p JOIN cells c USING (identity)
    WHERE c.status = 'failed' AND p.measure NOT LIKE 'tune/%' ORDER BY p.position"""
MISSING = """SELECT p.name, p.dataset, p.backbone, p.variant, p.seed, p.measure, p.identity,
    c.identity AS found FROM planned p LEFT JOIN cells c USING (identity)
    WHERE p.measure NOT LIKE 'tune/%' ORDER BY p.position"""
NETS = """SELECT dataset, backbone, variant FROM planned
    GROUP BY dataset, backbone, variant ORDER BY min(position)"""
ARRAYS = """SELECT p.*, c.file, c.sha256 FROM planned p JOIN cells c USING (identity)
    WHERE c.status = 'done' AND c.file IS NOT NULL AND
    (p.measure = ?1 OR p.measure LIKE ?1 || '/%') ORDER BY p.position"""
TRAININGS = """SELECT c.identity, c.facts, p.dataset, p.backbone, p.variant, p.seed
    FROM planned p JOIN cells c USING (identity)
    WHERE p.measure = 'train' AND c.status = 'done' ORDER BY p.position"""
VALUES = "SELECT metric, value FROM metrics WHERE identity = ?"


@dataclass(slots=True)
class Reading:
    """Results, the cells of the plan whose record or file is damaged (what is wrong, by the cell's
    identity), and those whose arrays were read and are sound."""

    results: Results
    damaged: dict[str, str]
    sound: set[str]


def results(store: Store) -> Results:
    """Everything the run has measured of its present plan.

    Raises:
        BenchError: the run has no plan yet, or its tables are damaged.
    """
    return read(store).results


def read(store: Store) -> Reading:
    """As `results`; damaged cells are told, left out, and named in the notes.

    Raises:
        BenchError: the run has no plan yet, or its tables are damaged.
    """
    try:
        with _no_collection(), store.snapshot():
            broken = store.broken()
            if not broken.lost_sessions and not store.rows("SELECT id FROM sessions LIMIT 1"):
                raise BenchError(f"{store.folder}: nothing was run there yet")
            if broken.tables:
                raise BenchError(
                    f"{store.folder / NAME}: the table {' and the table '.join(broken.tables)} "
                    "is damaged; `bench run` of the same suite writes it anew, or "
                    f"`python -m bench doctor {store.folder} --repair` what is known of it"
                )
            return _read(store, broken)
    except (ValueError, TypeError, KeyError) as error:  # in runs whose rows have no seals yet
        text = f"{store.folder / NAME}: holds what no run writes ({type(error).__name__}: {error})"
        raise BenchError(f"{text}; `python -m bench doctor {store.folder} --repair`") from None


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without looking for garbage: of a hundred thousand rows that all stay, none is."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _read(store: Store, broken: Broken) -> Reading:
    damaged = _Damaged(store, broken.cells)
    rows, metrics = _tidy(store, damaged, broken.metrics)
    facts = store.facts()
    shown, session = _provenance(store, facts, broken)
    found = Results(
        title=facts.get("suite", session.get("suite", "")),
        rows=tuple(rows),
        metrics=metrics,
        failures=tuple(
            _failure(row) for row in store.rows(FAILED) if row["identity"] not in damaged
        ),
        samples=tuple(_samples(store, damaged)),
        localized=tuple(_localized(store, damaged)),
        removed=tuple(_removed(store, damaged)),
        learned=tuple(_learned(store, damaged)),
        searches=tuple(searches(store, facts, damaged)),
        missing=tuple(_missing(store, broken.cells)),
        nets=tuple((row["dataset"], row["backbone"], row["variant"]) for row in store.rows(NETS)),
        attacks={
            label: _attack(found) for label, found in json.loads(facts.get("attacks", "{}")).items()
        },
        claims=tuple(_claim(found) for found in json.loads(facts.get("claims", "[]"))),
        provenance=shown,
        timed_on=timed_on(store, broken),
    )
    told = [*json.loads(facts.get("notes", "[]")), *session.get("notes", ())]
    told += [note for note in noted(store, damaged) if note not in told]
    told += mixed_precisions(store, damaged)
    found = replace(found, notes=(*told, *damaged.notes), damaged=tuple(damaged.notes))
    return Reading(found, dict(damaged.found), damaged.sound)


class _Damaged:
    """The damaged cells found so far: identity to what is wrong."""

    def __init__(self, store: Store, cells: dict[str, str]) -> None:
        self._names = dict(store.tuples(NAMES))
        self.found: dict[str, str] = {}
        self.notes: list[str] = []
        self.sound: set[str] = set()
        for identity, text in cells.items():
            if identity in self._names:  # else no number of it is shown
                self.add(identity, text, "is left out")

    def add(self, identity: str, text: str, left_out: str) -> None:
        self.found[identity] = text
        name = self._names[identity]
        again = "the next `bench run` does it again, and `bench doctor --repair` forgets it"
        self.notes.append(f"{name} {left_out}: {text}; {again}")

    def __contains__(self, identity: object) -> bool:
        return identity in self.found


def _missing(store: Store, damaged: Container[str]) -> Iterator[Missing]:
    """What was never reached or asked for, and what has to be done again: its row is damaged."""
    left_out = not_selected(store)
    for cell, dataset, backbone, variant, seed, measure, identity, found in store.tuples(MISSING):
        if found is None or identity in damaged:
            selected = identity not in left_out
            yield Missing(cell, dataset, backbone, variant, seed, measure, selected)


def _tidy(
    store: Store, damaged: _Damaged, recorded: Metrics
) -> tuple[list[Row], dict[tuple[str, str], MetricInfo]]:
    """Every number, and what is known of each metric (as it was last recorded)."""
    rows: list[Row] = []
    texts: dict[tuple[str, str], str] = {}
    # Names that rows share are one text, quicker to find again than a hundred thousand.
    names: dict[str, str] = {}
    left_out = frozenset(damaged.found)
    for identity, dataset, backbone, variant, seed, measure in store.tuples(PLANNED):
        if identity in left_out:
            continue
        for _, _, name, value, unit, info in sorted(recorded.get(identity, ()), key=_POSITION):
            metric = names.setdefault(name, name)
            try:
                rows.append(Row(dataset, backbone, variant, seed, measure, metric, value, unit))
            except (ValueError, TypeError) as error:
                damaged.add(identity, str(error), "lacks a number")
            if info != "{}":
                texts[measure, metric] = info
    return rows, {key: MetricInfo(**json.loads(text)) for key, text in texts.items()}


def _failure(row: Any) -> Failure:
    place = (row["name"], row["dataset"], row["backbone"], row["variant"], row["seed"])
    error = error_text(row["error_kind"], row["error"])
    return Failure(*place, row["measure"], error, files.cell_log(row["identity"]))


T = TypeVar("T", Sample, Localized, Removed)
Arrays = Mapping[str, NDArray[Any]]


def _arrays(
    store: Store, measure: str, damaged: _Damaged, make: Callable[[Any, Arrays], T | None]
) -> Iterator[T]:
    """What `make` makes of the arrays of each cell of a measure; a cell whose file is lost, was
    changed, or holds something else is added to `damaged`."""
    for row in store.rows(ARRAYS, measure):
        if row["identity"] in damaged:
            continue
        path = os.path.join(store.folder, row["file"])
        try:
            made = make(row, files.read_arrays(path, row["sha256"]))
        except BenchError as error:
            damaged.add(row["identity"], str(error), WITHOUT_ARRAYS)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            text = f"{path}: holds other arrays than such a cell has ({error})"
            damaged.add(row["identity"], text, WITHOUT_ARRAYS)
        else:
            damaged.sound.add(row["identity"])
            if made is not None:
                yield made


def _net(row: Any) -> dict[str, Any]:
    return {key: row[key] for key in ("dataset", "backbone", "variant", "seed")}


def _samples(store: Store, damaged: _Damaged) -> Iterator[Sample]:
    """Per-sample results of the attacks."""

    def make(row: Any, arrays: Arrays) -> Sample:
        attack = row["measure"].partition("/")[2]
        l2 = arrays["l2"].astype(np.float64)
        return Sample(attack=attack, l2=l2, **_net(row), **_more(arrays))

    return _arrays(store, "robustness", damaged, make)


def _localized(store: Store, damaged: _Damaged) -> Iterator[Localized]:
    """Counts of pixels of heatmaps against objects, where masks of these were known."""

    def make(row: Any, arrays: Arrays) -> Localized | None:
        if "tp" not in arrays:
            return None
        metrics = dict(store.tuples(VALUES, row["identity"]))
        steps = arrays["tp"].shape[1] - 1
        return Localized(
            **_net(row),
            index=arrays["index"],
            correct=arrays["correct"],
            tp=arrays["tp"],
            fp=arrays["fp"],
            fn=arrays["fn"],
            thresholds=np.arange(steps + 1) / steps,
            threshold=metrics["threshold"],
            item=row["measure"].partition("/")[2],
            pixels=int(metrics["pixels"]),
        )

    return _arrays(store, "localization", damaged, make)


def _removed(store: Store, damaged: _Damaged) -> Iterator[Removed]:
    """Deletion and insertion curves of heatmaps."""

    def make(row: Any, arrays: Arrays) -> Removed:
        pixels = dict(store.tuples(VALUES, row["identity"])).get("pixels")
        return Removed(
            **_net(row),
            index=arrays["index"],
            clean=arrays["clean"].astype(np.float64),
            deletion=arrays["deletion"].astype(np.float64),
            insertion=arrays["insertion"].astype(np.float64),
            item=row["measure"].partition("/")[2],
            pixels=None if pixels is None else int(pixels),
        )

    return _arrays(store, "faithfulness", damaged, make)


def _learned(store: Store, damaged: _Damaged) -> Iterator[Learned]:
    """Losses and validation accuracies of the trainings; runs of earlier versions have none."""
    for row in store.rows(TRAININGS):
        if row["identity"] in damaged:
            continue
        facts = json.loads(row["facts"])
        if facts.get("losses"):
            losses, validation = tuple(facts["losses"]), tuple(facts["validation"])
            yield Learned(**_net(row), losses=losses, validation=validation)


def _more(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """What a sample has besides L2; runs of earlier versions lack some."""
    kinds = {"index": np.int64, "linf": np.float64, "l0": np.float64, "robust": np.bool_}
    return {name: arrays[name].astype(kind) for name, kind in kinds.items() if name in arrays}


def _claim(found: Mapping[str, Any]) -> Claim:
    lists = ("numbers", "nets", "against", "inputs")
    return Claim(**{**found, **{key: tuple(found[key]) for key in lists}})


def _attack(found: Mapping[str, Any]) -> AttackInfo:
    limits = tuple((name, float(end)) for name, end in found.get("limits", {}).items())
    return AttackInfo(**{**found, "strengths": tuple(found["strengths"]), "limits": limits})
