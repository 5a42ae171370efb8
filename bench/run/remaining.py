"""How long a run will still take, told from the cells that are over."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from bench.plan.cell import Cell
from bench.store.database import Store

Kind = tuple[str, ...]


class Remaining:
    """Remaining time, from the durations of cells of the same kind that are over.

    A cell is taken for the mean of those of its network and data set; else of its network on any;
    else for the mean of its measure (of all cells, if that has none), times what cells of its
    network took so far compared with such means.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        # Counts and sums by kind: what a cell costs must not grow with the number of cells.
        self._left = Counter(map(_kinds, cells))
        self._seen: dict[Kind, tuple[float, int]] = {}
        self._took: dict[Kind, tuple[float, float]] = {}
        self._started = time.perf_counter()
        self._spent = 0.0

    def known(self, cell: Cell, seconds: float) -> None:
        """Note what a cell took in an earlier session."""
        kinds = _kinds(cell)
        _, (_, *net), title, _ = kinds
        if title in self._seen:
            spent, expected = self._took.get(tuple(net), (0.0, 0.0))
            self._took[tuple(net)] = spent + seconds, expected + self._mean(title)
        for kind in kinds:
            total, count = self._seen.get(kind, (0.0, 0))
            self._seen[kind] = total + seconds, count + 1

    def finished(self, cell: Cell, seconds: float) -> None:
        """Note a cell that is over now."""
        kinds = _kinds(cell)
        self._left[kinds] -= 1
        if self._left[kinds] <= 0:
            del self._left[kinds]
        self._spent += seconds
        self.known(cell, seconds)

    def seconds(self) -> float | None:
        """Wall seconds left at the present pace; None before the first cell is over."""
        if not self._spent:
            return None
        work = sum(left * self._expected(kinds) for kinds, left in self._left.items())
        pace = (time.perf_counter() - self._started) / self._spent
        return work * min(1.0, pace)

    def _mean(self, kind: Kind) -> float:
        total, count = self._seen[kind]
        return total / count

    def _expected(self, kinds: tuple[Kind, ...]) -> float:
        here, net, title, anything = kinds
        for kind in (here, net):
            if kind in self._seen:
                return self._mean(kind)
        spent, expected = self._took.get(net[1:], (0.0, 0.0))
        factor = spent / expected if expected > 0 else 1.0
        return factor * self._mean(title if title in self._seen else anything)


def _kinds(cell: Cell) -> tuple[Kind, ...]:
    """What a cell has in common with others, from much to nothing."""
    training = cell.training
    net = (training.backbone.label, training.variant)
    # Trials have a title each, and cost much the same.
    title = "trial" if training.trial else cell.title
    return (title, *net, training.dataset.label), (title, *net), (title,), ()


def remaining(chosen: Iterable[Cell], left: Iterable[Cell], store: Store) -> Remaining:
    """Of the cells that are left, with what the other chosen ones took."""
    found = Remaining(left)
    took = dict(store.tuples("SELECT identity, seconds FROM cells WHERE status = 'done'"))
    for cell in chosen:
        if cell.identity in took:
            found.known(cell, took[cell.identity])
    return found


def clock(seconds: float | None) -> str:
    """`1:02:03`, `2:03`, or `?`."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
