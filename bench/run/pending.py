"""Which cells are still to do, and which of those that are recorded to do again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.plan.cell import Cell
from bench.store import parts
from bench.store.database import Store


def distinct(cells: Iterable[Cell]) -> list[Cell]:
    """One cell of each identity: two labels for the same thing are measured once."""
    found: dict[str, Cell] = {}
    for cell in cells:
        found.setdefault(cell.identity, cell)
    return list(found.values())


def left_to_do(
    cells: Iterable[Cell],
    store: Store,
    retry_failed: bool = False,
    damaged: Iterable[str] = (),
) -> tuple[list[Cell], set[str]]:
    """The cells to do, in order (failed ones too if they are to be tried again), and identities of
    what is recorded and to be done again. Nothing is changed: `take_back` comes when all is ready.
    """
    cells = distinct(cells)
    again = _to_do_again(cells, store, retry_failed, damaged)
    usable = {key: status for key, status in store.statuses().items() if key not in again}
    return _without_result(cells, usable, retry_failed), again


def take_back(again: Iterable[str], store: Store) -> None:
    """Forget what is to be done again."""
    for identity in again:
        store.forget(identity)


def _to_do_again(
    cells: list[Cell], store: Store, retry_failed: bool, damaged: Iterable[str]
) -> set[str]:
    """Identities of recorded cells that cannot be used.

    They are cells whose arrays are gone or that are known as `damaged`, trainings whose weights are
    needed but missing or damaged, and trials whose record is damaged before it has chosen anything.
    """
    again = {*store.lost(), *damaged}
    statuses = {key: status for key, status in store.statuses().items() if key not in again}
    over = _over(retry_failed)
    needed = {
        cell.training.identity
        for cell in cells
        if cell.measure is not None
        and cell.training.weights is None
        and statuses.get(cell.identity) not in over
    }
    for cell in cells:
        if cell.training.tuning is not None and cell.training.identity not in statuses:
            needed.update(cell.training.tuning.trials)
    again |= {
        identity
        for identity in needed
        if statuses.get(identity) == "done" and not store.is_whole(identity)
    }
    return again


def _without_result(
    cells: Iterable[Cell], statuses: Mapping[str, str], retry_failed: bool
) -> list[Cell]:
    """The cells that a run does, in order, with what is recorded of them."""
    over = _over(retry_failed)
    chosen = [cell for cell in cells if statuses.get(cell.identity) not in over]
    if retry_failed:
        return chosen
    # What needs a training that failed cannot be done either.
    return [
        cell
        for cell in chosen
        if cell.measure is None or statuses.get(cell.training.identity) != "failed"
    ]


def _over(retry_failed: bool) -> set[str]:
    """The statuses of cells of which nothing more is asked."""
    return {"done"} if retry_failed else {"done", "failed"}


def carried_on(cells: Iterable[Cell], folder: Path) -> dict[str, int]:
    """Names of the cells that an interrupted session left half done, with their finished parts."""
    cells = list(cells)
    trained = {cell.identity for cell in cells if cell.measure is None}
    counts = {
        cell.name: len(parts.kept(folder, cell.identity))
        for cell in cells
        if cell.training.identity not in trained
    }
    return {name: count for name, count in counts.items() if count}
