"""Networks that were trained anew and came out otherwise: another version of a library, another
machine, a file that no identity sees. What was measured of the old one is not mixed with the new,
and what was not, because there was none, is not said to have failed any more.
"""

from __future__ import annotations

from collections.abc import Iterable

from bench.plan.cell import Cell, Training
from bench.store.database import Store
from bench.store.outcome import NO_TRAINING, NO_TUNING, network_of

PLANNED = """SELECT identity FROM planned
    WHERE dataset = ? AND backbone = ? AND variant = ? AND seed = ?"""
UNTRIED = """SELECT identity, seed, error FROM planned JOIN cells USING (identity)
    WHERE dataset = ? AND backbone = ? AND variant = ? AND status = 'failed'"""
FACTS = "SELECT identity, facts FROM cells WHERE status = 'done'"


def of_same_network(training: Training, store: Store) -> set[str]:
    """The identities of all planned cells of a training."""
    net = training.dataset.label, training.backbone.label, training.variant, training.seed
    return {identity for (identity,) in store.tuples(PLANNED, *net)}


def untried(training: Training, store: Store) -> list[str]:
    """The identities of the cells that failed only because this training had, or this trial with
    all others of its search: once it is done, nothing is known of them."""
    net = training.dataset.label, training.backbone.label, training.variant
    reasons = NO_TUNING if training.trial else NO_TRAINING, NO_TRAINING + NO_TUNING
    return [
        identity
        for identity, seed, error in store.tuples(UNTRIED, *net)
        if (training.trial or seed == training.seed) and str(error).startswith(reasons)
    ]


def retrained(cells: Iterable[Cell], store: Store) -> list[Cell]:
    """The cells that were measured of other weights than those of their training as it is recorded
    now; runs of earlier versions do not tell."""
    known = {
        identity: found
        for identity, text in store.tuples(FACTS)
        if (found := network_of(text)) is not None
    }
    return [
        cell
        for cell in cells
        if cell.measure is not None
        and cell.training.identity in known
        and known.get(cell.identity, known[cell.training.identity]) != known[cell.training.identity]
    ]
