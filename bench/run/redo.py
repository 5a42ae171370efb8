"""Damaged results are done again: everything recorded is looked at before a page is made of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bench.errors import visible
from bench.plan.cell import Cell
from bench.store.check import damaged_files
from bench.store.database import Store
from bench.store.read import read

if TYPE_CHECKING:
    from leaderboard.results import Results


def redo_damaged(chosen: Iterable[Cell], store: Store, do: Callable[[list[Cell]], None]) -> Results:
    """The results, after `do` was asked to do those of the chosen cells again whose record or
    arrays are damaged."""
    found = read(store)
    damaged = dict(found.damaged)
    for identity, _, text in damaged_files(store, "arrays", skip={*damaged, *found.sound}):
        damaged[identity] = text
    again = [cell for cell in chosen if cell.identity in damaged]
    if not again:
        return found.results
    for cell in again:
        text = f"{cell.name}: {damaged[cell.identity]}; it is done again"
        print(visible(text), file=sys.stderr)
        store.forget(cell.identity)
    do(again)
    return read(store).results
