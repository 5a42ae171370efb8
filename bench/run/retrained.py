"""Networks that were trained anew and came out otherwise: another version of a library, another
machine, a file that no identity sees. What was measured of the old one is not mixed with the new.
"""

from __future__ import annotations

from collections.abc import Iterable

from bench.plan.cell import Cell, Training
from bench.store.database import Store
from bench.store.outcome import network_of

PLANNED = """SELECT identity FROM planned
    WHERE dataset = ? AND backbone = ? AND variant = ? AND seed = ?"""
FACTS = "SELECT identity, facts FROM cells WHERE status = 'done'"


def of_same_network(training: Training, store: Store) -> set[str]:
    """The identities of all planned cells of a training."""
    net = training.dataset.label, training.backbone.label, training.variant, training.seed
    return {identity for (identity,) in store.tuples(PLANNED, *net)}


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
