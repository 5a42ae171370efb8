"""Identical trainings of the runs beside this one, which need not be done again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.plan.cell import Cell
from bench.run.executor import record
from bench.store import files
from bench.store.database import NAME, Store
from bench.store.transfer import has_training, training_from

if TYPE_CHECKING:
    from bench.run.place import Place


def borrow_trainings(cells: list[Cell], store: Store, session: int, place: Place) -> list[Cell]:
    """Take over identical trainings from the runs beside this one; return the cells left to do.

    A run directory's neighbours are the other folders with a results file in the same parent.
    Weights count only if they come from the same torch version, kind of device and content of the
    data set, and their checksum holds. Trials are done in every run, and what they choose a recipe
    for with them.
    """
    wanted = _to_borrow(cells)
    taken: set[str] = set()
    for folder in _neighbours(store.folder) if wanted else ():
        for identity in list(wanted.keys() - taken):
            if _has_weights(folder, identity) and _borrow(
                wanted[identity], folder, store, session, place
            ):
                taken.add(identity)
    return [cell for cell in cells if cell.identity not in taken]


def borrowed(cells: Iterable[Cell], folder: Path, device: str) -> dict[str, Path]:
    """By identity, the trainings that `borrow_trainings` would take over for a run in `folder`, and
    from which run; that data sets have the same content still is taken for granted. Nothing is
    changed on the disk."""
    wanted, found = _to_borrow(cells), dict[str, Path]()
    for other in _neighbours(folder) if wanted else ():
        for identity in wanted.keys() - found:
            if _has_weights(other, identity) and has_training(other, identity, device):
                found[identity] = other
    return found


def _to_borrow(cells: Iterable[Cell]) -> dict[str, Cell]:
    """The trainings that may come from another run, by identity."""
    return {
        cell.identity: cell
        for cell in cells
        if cell.measure is None and not cell.training.trial and cell.training.tuning is None
    }


def _neighbours(folder: Path) -> list[Path]:
    here = folder.resolve()
    return [
        path.parent
        for path in sorted(here.parent.glob(f"*/{NAME}"))
        if path.parent.resolve() != here
    ]


def _has_weights(folder: Path, identity: str) -> bool:
    """Whether a neighbour has them; it may be somebody else's, who lets nobody look."""
    return os.path.isfile(folder / files.cell_file(identity, "weights"))


def _borrow(cell: Cell, folder: Path, store: Store, session: int, place: Place) -> bool:
    content = place.contents.get(cell.training.dataset.label)
    outcome = training_from(folder, cell.identity, place.device, content)
    if outcome is None:
        return False
    record(store, session, cell, outcome)
    return True
