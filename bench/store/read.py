"""From a run directory to `leaderboard.Results`."""

from __future__ import annotations

import gc
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.store import files
from bench.store.database import Store
from bench.store.outcome import error_text
from leaderboard.results import (
    AttackInfo,
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

TIDY = """SELECT p.dataset, p.backbone, p.variant, p.seed, p.measure, m.metric, m.value, m.unit,
    m.info FROM planned p JOIN metrics m USING (identity) ORDER BY p.position, m.position"""
FAILED = """SELECT p.*, c.error_kind, c.error FROM planned p JOIN cells c USING (identity)
    WHERE c.status = 'failed' ORDER BY p.position"""
MISSING = """SELECT p.name, p.dataset, p.backbone, p.variant, p.seed, p.measure
    FROM planned p LEFT JOIN cells c USING (identity)
    WHERE c.identity IS NULL ORDER BY p.position"""
NETS = """SELECT dataset, backbone, variant FROM planned
    GROUP BY dataset, backbone, variant ORDER BY min(position)"""
ARRAYS = """SELECT p.*, c.file, c.sha256 FROM planned p JOIN cells c USING (identity)
    WHERE c.status = 'done' AND c.file IS NOT NULL AND
    (p.measure = ?1 OR p.measure LIKE ?1 || '/%') ORDER BY p.position"""
TRAININGS = """SELECT c.facts, p.dataset, p.backbone, p.variant, p.seed
    FROM planned p JOIN cells c USING (identity)
    WHERE p.measure = 'train' AND c.status = 'done' ORDER BY p.position"""
VALUES = "SELECT metric, value FROM metrics WHERE identity = ?"


def results(store: Store) -> Results:
    """Everything the run has measured of its present plan.

    Raises:
        BenchError: the run has no plan yet, or a recorded array is damaged.
    """
    sessions = store.rows("SELECT * FROM sessions ORDER BY id")
    if not sessions:
        raise BenchError(f"{store.folder}: nothing was run there yet")
    with _no_collection():
        return _results(store, sessions)


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


def _results(store: Store, sessions: list[Any]) -> Results:
    rows, metrics = _tidy(store)
    provenance = json.loads(sessions[-1]["provenance"])
    damaged: list[str] = []
    facts = store.facts()
    how = json.loads(facts.get("notes", "[]"))
    return Results(
        title=provenance["suite"],
        rows=tuple(rows),
        metrics=metrics,
        failures=tuple(_failure(row) for row in store.rows(FAILED)),
        missing=tuple(Missing(*row) for row in store.rows(MISSING)),
        nets=tuple((row["dataset"], row["backbone"], row["variant"]) for row in store.rows(NETS)),
        samples=tuple(_samples(store, damaged)),
        localized=tuple(_localized(store, damaged)),
        removed=tuple(_removed(store, damaged)),
        learned=tuple(_learned(store)),
        attacks={
            label: _attack(found) for label, found in json.loads(facts.get("attacks", "{}")).items()
        },
        provenance=_shown(store, provenance, sessions, facts.get("suite_text", "")),
        notes=(*how, *provenance.get("notes", ()), *damaged),
    )


def _tidy(store: Store) -> tuple[list[Row], dict[tuple[str, str], MetricInfo]]:
    """Every number, and what is known of each metric (as it was last recorded)."""
    rows: list[Row] = []
    texts: dict[tuple[str, str], str] = {}
    for dataset, backbone, variant, seed, measure, metric, value, unit, info in store.tuples(TIDY):
        rows.append(Row(dataset, backbone, variant, seed, measure, metric, value, unit))
        if info != "{}":
            texts[measure, metric] = info
    return rows, {key: MetricInfo(**json.loads(text)) for key, text in texts.items()}


def _failure(row: Any) -> Failure:
    place = (row["name"], row["dataset"], row["backbone"], row["variant"], row["seed"])
    return Failure(*place, row["measure"], error_text(row["error_kind"], row["error"]))


def _arrays(
    store: Store, measure: str, damaged: list[str]
) -> Iterator[tuple[Any, dict[str, NDArray[Any]]]]:
    """Yield the cells of a measure with their arrays; add a note to `damaged` for each file that
    is lost or damaged."""
    for row in store.rows(ARRAYS, measure):
        try:
            yield row, files.read_arrays(os.path.join(store.folder, row["file"]), row["sha256"])
        except BenchError as error:
            damaged.append(
                f"{row['name']} is not in the figure: {error}; delete that file and run again"
            )


def _net(row: Any) -> dict[str, Any]:
    return {key: row[key] for key in ("dataset", "backbone", "variant", "seed")}


def _samples(store: Store, damaged: list[str]) -> Iterator[Sample]:
    """Per-sample results of the attacks."""
    for row, arrays in _arrays(store, "robustness", damaged):
        attack = row["measure"].partition("/")[2]
        l2 = arrays["l2"].astype(np.float64)
        yield Sample(attack=attack, l2=l2, **_net(row), **_more(arrays))


def _localized(store: Store, damaged: list[str]) -> Iterator[Localized]:
    """Counts of pixels of heatmaps against objects, where masks of these were known."""
    for row, arrays in _arrays(store, "localization", damaged):
        if "tp" not in arrays:
            continue
        metrics = dict(map(tuple, store.rows(VALUES, row["identity"])))
        steps = arrays["tp"].shape[1] - 1
        yield Localized(
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


def _removed(store: Store, damaged: list[str]) -> Iterator[Removed]:
    """Deletion and insertion curves of heatmaps."""
    for row, arrays in _arrays(store, "faithfulness", damaged):
        yield Removed(
            **_net(row),
            index=arrays["index"],
            clean=arrays["clean"].astype(np.float64),
            deletion=arrays["deletion"].astype(np.float64),
            insertion=arrays["insertion"].astype(np.float64),
            item=row["measure"].partition("/")[2],
        )


def _learned(store: Store) -> Iterator[Learned]:
    """Losses and validation accuracies of the trainings; runs of earlier versions have none."""
    for row in store.rows(TRAININGS):
        facts = json.loads(row["facts"])
        if facts.get("losses"):
            losses, validation = tuple(facts["losses"]), tuple(facts["validation"])
            yield Learned(**_net(row), losses=losses, validation=validation)


def _more(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """What a sample has besides L2; runs of earlier versions lack some."""
    kinds = {"index": np.int64, "linf": np.float64, "l0": np.float64}
    return {name: arrays[name].astype(kind) for name, kind in kinds.items() if name in arrays}


def _attack(found: Mapping[str, Any]) -> AttackInfo:
    return AttackInfo(**{**found, "strengths": tuple(found["strengths"])})


def _shown(
    store: Store, provenance: dict[str, Any], sessions: list[Any], suite: str
) -> dict[str, str]:
    """The provenance as the leaderboard shows it, from the last session."""
    started = datetime.fromtimestamp(sessions[-1]["started"], UTC)
    versions = ", ".join(f"{name} {number}" for name, number in provenance["versions"].items())
    shown = {
        "command": provenance["command"],
        "date": started.strftime("%Y-%m-%d %H:%M UTC"),
        "hardware": provenance["hardware"],
        "versions": f"Python {provenance['python']}, {versions}",
        "commit": provenance["git_commit"],
        "sessions": str(len(sessions)),
    }
    if provenance.get("power"):
        shown["power"] = provenance["power"]
    if provenance.get("plugins"):
        shown["plugins"] = ", ".join(f"{n} ({c})" for n, c in sorted(provenance["plugins"].items()))
    if trainings := _trainings(store):
        shown["training"] = trainings
    shown["suite"] = suite
    hosts = {json.loads(row["provenance"])["hardware"] for row in sessions}
    if len(hosts) > 1:
        shown["hardware"] += f" (the run used {len(hosts)} different machines)"
    return shown


def _trainings(store: Store) -> str:
    """How the trainings computed: `4 trainings: deterministic mode, bf16, channels_last, ...`."""
    facts = [json.loads(row["facts"]).get("training") for row in store.rows(TRAININGS)]
    # Runs of earlier versions do not tell.
    ways = Counter(_way(found) for found in facts if found)
    return "; ".join(
        f"{count} training{'s' if count > 1 else ''}: {way}" for way, count in ways.items()
    )


def _way(facts: Mapping[str, Any]) -> str:
    parts = [f"{facts['mode']} mode", facts["precision"], facts["memory_format"]]
    threads = facts["threads"]
    parts.append(f"{threads} CPU thread{'s' if threads > 1 else ''}")
    if facts["cuda_graph"]:
        parts.append("steps replayed as a CUDA graph")
    if "note" in facts:
        parts.append(facts["note"])
    if "parts" in facts:
        parts.append(f"batches in {facts['parts']} parts")
    return ", ".join(parts)
