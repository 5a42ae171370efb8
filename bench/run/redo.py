"""What cannot stay as it is is done again: everything recorded is looked at before the
run begins, and once more before a page is made.

That is what is damaged, what was trained with another recipe than the trials choose now, and what
was measured of a network that was lost and came out otherwise when it was trained again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterable, Mapping
from typing import TYPE_CHECKING

from bench.errors import BenchError, visible
from bench.plan.cell import Cell, Plan
from bench.run.retrained import retrained
from bench.run.tuned import outdated
from bench.store import parts
from bench.store.check import damaged_files
from bench.store.database import Store
from bench.store.files import KINDS, cell_file, cell_log
from bench.store.read import Reading, read

if TYPE_CHECKING:
    from leaderboard.results import Results


# Does what is left of cells, and again what is damaged of them (what is wrong, by identity); tells
# whether there was anything to do.
Do = Callable[[Iterable[Cell], Mapping[str, str]], bool]


def discard(cells: Iterable[Cell], store: Store) -> None:
    """Take back what was measured of these cells, and nothing else of the run.

    Raises:
        BenchError: the disk is full, or the run is damaged or not there any more.
    """
    identities = [cell.identity for cell in cells]
    store.forget(*identities)
    for identity in identities:
        for kind in KINDS:
            (store.folder / cell_file(identity, kind)).unlink(missing_ok=True)
        (store.folder / cell_log(identity)).unlink(missing_ok=True)
        parts.drop(store.folder, identity)


def redo(
    plan: Plan, chosen: Iterable[Cell], store: Store, do: Do, known: Results | None = None
) -> Results:
    """The results, after `do` was asked to do those of the chosen cells again that cannot stay.

    `known` are those that `damaged` has found beside, if nothing was damaged or done since.
    """
    chosen = list(chosen)
    found = _redo_damaged(chosen, store, do) if known is None else known
    old = outdated(plan.cells, store)
    again_there = {cell.identity for cell in old}
    asked = {cell.identity for cell in chosen}
    changed = [cell for cell in retrained(plan.cells, store) if cell.identity not in again_there]
    for cell in changed:
        text = f"{cell.name}: was measured of the network as it was trained before"
        print(visible(f"{text}; {_when(cell, asked)}"), file=sys.stderr)
    old += changed
    for cell in old:
        if cell.measure is None:
            text = f"{cell.name}: its trials choose another recipe now"
            print(visible(f"{text}; {_when(cell, asked)}"), file=sys.stderr)
        store.forget(cell.identity)
        parts.drop(store.folder, cell.identity)  # of the other network
    if not old:
        return found
    wanted = {cell.identity for cell in old}
    again = [cell for cell in chosen if cell.identity in wanted]
    if again:
        do(again, {})
    return read(store).results


def _when(cell: Cell, asked: Container[str]) -> str:
    """When a cell is done again that cannot stay."""
    if cell.identity in asked:
        return "it is done again"
    return "it is taken back, and done again by a run that --only does not keep from it"


def damaged(store: Store) -> tuple[dict[str, str], Results | None]:
    """What is wrong with the cells whose record or arrays are damaged, by identity, and the results
    without those; nothing is changed. Of a run that cannot be read nothing is known yet."""
    try:
        found = read(store)
    except BenchError:  # nothing was run there, or the page tells
        return {}, None
    return _damaged(store, found), found.results


def _redo_damaged(chosen: list[Cell], store: Store, do: Do) -> Results:
    """What was damaged while the run was at work."""
    found = read(store)
    wrong = _damaged(store, found)
    again = [cell for cell in chosen if cell.identity in wrong]
    if not again:
        return found.results
    do(_with_trainings(again, chosen), wrong)
    return read(store).results


def _damaged(store: Store, found: Reading) -> dict[str, str]:
    """What is wrong with damaged cells, by identity: as they were read, and in files beside."""
    rest = damaged_files(store, "arrays", skip={*found.damaged, *found.sound})
    return {**found.damaged, **{identity: text for identity, _, text in rest}}


def trained_again(lost: Iterable[Cell], plan: Plan, store: Store) -> list[Cell]:
    """The cells that found no weights, with their trainings; tells which are done again, as those
    are that are not whole: a file may have been out of reach for a moment.

    What had failed before and was to be tried again counts as not done: it found no weights.
    """
    lost = [*lost]
    for cell in lost:
        store.forget(cell.identity)
    found = _with_trainings(lost, plan.cells)
    for cell in found:
        if cell.measure is None and not store.is_whole(cell.identity):
            text = "its weights were lost while the run was at work; it is done again"
            print(visible(f"{cell.name}: {text}"), file=sys.stderr)
    return found


def _with_trainings(again: Iterable[Cell], chosen: Iterable[Cell]) -> list[Cell]:
    """The cells with the trainings that they need, whose weights may be lost or damaged too."""
    again = [*again]
    needed = {cell.training.identity for cell in again}
    known = {cell.identity for cell in again}
    return [
        cell
        for cell in chosen
        if cell.identity in known or (cell.measure is None and cell.identity in needed)
    ]
