"""What trials came to, and which of them is chosen."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.store.database import Store
from bench.store.outcome import error_text
from leaderboard.results import Searched, Trial

SCORE = "validation_top1"
# What a training records of the recipe that it was done with.
RECIPE = "recipe"
_TOLD = (
    "dataset", "backbone", "variant", "search", "seed", "epochs", "own_epochs", "validation",
)  # fmt: skip
_TRIED = """SELECT c.status, c.error_kind, c.error, m.value FROM cells c LEFT JOIN metrics m
    ON m.identity = c.identity AND m.metric = ? WHERE c.identity = ?"""


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial that is over: accuracy in percent on the held-out part after its last epoch, or why
    there is none."""

    accuracy: float | None
    error: str = ""


def tried(store: Store, identities: Sequence[str]) -> list[Tried | None]:
    """What each trial came to; None for one that is not over."""
    return [_tried(store, identity) for identity in identities]


def _tried(store: Store, identity: str) -> Tried | None:
    rows = store.rows(_TRIED, SCORE, identity)
    if not rows:
        return None
    row = rows[0]
    if row["status"] == "failed":
        return Tried(None, error_text(row["error_kind"], row["error"]))
    value = row["value"]
    if value is None or not math.isfinite(value):
        return Tried(None, "it has no validation accuracy")
    return Tried(value)


def searches(
    store: Store, facts: Mapping[str, str], damaged: Container[str] = ()
) -> Iterator[Searched]:
    """The search for the recipe of each network, from the facts of a run; trials whose record is
    damaged count as not over."""
    for told in json.loads(facts.get("searches", "[]")):
        found = [
            None if identity in damaged else _tried(store, identity) for identity in told["trials"]
        ]
        # Only when all are over it is the best.
        yield Searched(
            **{key: told[key] for key in _TOLD},
            trials=tuple(
                Trial(values, one.accuracy if one else None, one.error if one else "", tuple(edges))
                for values, edges, one in zip(told["values"], told["edges"], found, strict=True)
            ),
            chosen=None if None in found else choose(found),
            axes=tuple((key, text) for key, text in told["axes"].items()),
        )


def choose(found: Sequence[Tried | None]) -> int | None:
    """The number of the trial with the highest accuracy, of equal ones the first; None if no trial
    has one."""
    scores = [-math.inf if one is None or one.accuracy is None else one.accuracy for one in found]
    best = max(scores, default=-math.inf)
    return None if best == -math.inf else scores.index(best)


def recorded_recipe(store: Store, identity: str) -> Mapping[str, Any] | None:
    """The recipe that a training was done with; None if it is not done, or does not tell."""
    row = store.finished(identity)
    if row is None or row["status"] != "done":
        return None
    found: Mapping[str, Any] | None = json.loads(row["facts"]).get(RECIPE)
    return found
