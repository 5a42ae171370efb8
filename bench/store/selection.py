"""Which planned cells no `bench run` was ever asked for, being left out by --only."""

from __future__ import annotations

import json
from collections.abc import Iterable

from bench.store.database import Store

FACT = "unselected"


def unselected(store: Store, planned: Iterable[str], chosen: Iterable[str]) -> list[str]:
    """The identities that this run leaves out and those before it left out, to be kept as a fact.

    Must be asked before the new plan is recorded: what was not planned before was not left out.

    Args:
        store: the run's.
        planned: identities of all cells of the plan.
        chosen: identities of the cells that this run is to do.
    """
    before, known, asked = not_selected(store), _planned(store), set(chosen)
    found = (one for one in planned if one not in asked and (one in before or one not in known))
    return list(dict.fromkeys(found))


def not_selected(store: Store) -> frozenset[str]:
    """The identities of the cells that no run was asked for; none in runs of earlier versions."""
    return frozenset(json.loads(store.facts().get(FACT, "[]")))


def _planned(store: Store) -> set[str]:
    return {row[0] for row in store.tuples("SELECT identity FROM planned")}
