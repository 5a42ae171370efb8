"""Gives units to an engine, splits them while workers are idle, and gives back what was lost."""

from __future__ import annotations

import itertools
import queue
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.plan.cell import Cell
from bench.run.engine import Engine, Over
from bench.run.events import CellFinished, Event
from bench.run.processes import wire
from bench.run.tuned import refused
from bench.store.outcome import Failed

if TYPE_CHECKING:
    from bench.run.place import Place
    from bench.run.unit import Unit

Handle = Callable[[Event], None]
# Where a run keeps the weights of a training.
Weights = Callable[[str], Path]
Settle = Callable[["Unit"], "Unit | Failed"]

# A cell under which so many workers have died is not given to another one.
LOSSES = 3

# Never the same twice in a process: a cluster takes a number that it has seen for a lost job.
_NUMBERS = itertools.count(1)


class WorkerLost(Exception):  # noqa: N818  (named after what the row of a failed cell shows)
    """The workers that a cell was given to died, each time."""


def dispatch(
    units: Iterable[Unit],
    engine: Engine,
    place: Place,
    handle: Handle,
    weights: Weights,
    settle: Settle,
    alone: bool = False,
) -> None:
    """Have all units done, telling of every event in this thread.

    Args:
        units: in the order in which they are best begun.
        engine: does them.
        place: where they work, if the engine's machine has nothing to say against it.
        handle: is told of each event; has recorded a training when it returns.
        weights: the file of a training that was recorded, by its identity.
        settle: gives a unit the recipe that its trials have chosen, once they are over, or says
            why there is none.
        alone: one unit at a time, with all cores.

    Raises:
        BenchError: a worker cannot be used.
    """
    _Dispatch(units, engine, place, handle, weights, settle, alone).run()


@dataclass(slots=True)
class _Running:
    """A unit at an engine: its cells that have not ended, the one at work, why its training
    failed; `then` waits for that training."""

    unit: Unit
    cells: dict[str, Cell]
    then: tuple[Cell, ...]
    current: Cell | None = None
    failed: Failed | None = None


class _Dispatch:
    def __init__(
        self,
        units: Iterable[Unit],
        engine: Engine,
        place: Place,
        handle: Handle,
        weights: Weights,
        settle: Settle,
        alone: bool,
    ) -> None:
        self._waiting = deque(units)
        trials = (unit.train for unit in self._waiting if unit.training.trial)
        self._trials = {cell.identity for cell in trials if cell}  # that are not over
        self._engine, self._place, self._handle = engine, place, handle
        self._weights, self._settle, self._alone = weights, settle, alone
        self._running: dict[int, _Running] = {}
        self._losses: dict[str, int] = {}
        self._number = 0  # of the job that was submitted last

    def run(self) -> None:
        while self._waiting or self._running:
            self._fill()
            if not self._running:
                continue  # what was left could not be done
            # In slices, so that Ctrl-C is heard on every system.
            try:
                news = self._engine.news.get(timeout=1.0)
            except queue.Empty:
                continue  # a cluster may have more workers now
            if isinstance(news, Over):
                self._over(news)
            else:
                self._message(*news)

    def _fill(self) -> None:
        slots = 1 if self._alone else self._engine.slots
        while self._waiting and len(self._running) < slots:
            while len(self._running) + len(self._waiting) < slots and self._halve():
                pass
            unit = self._next()
            if unit is None:
                return  # the rest waits for trials
            then: tuple[Cell, ...] = ()
            if unit.train and len(unit.cells) > 1 and self._are_idle(slots):
                unit, then = replace(unit, cells=()), unit.cells
            self._number = next(_NUMBERS)
            left = {cell.identity: cell for cell in unit.all_cells}
            self._running[self._number] = _Running(unit, left, then)
            self._engine.submit(self._number, unit, self._place, self._alone)

    def _next(self) -> Unit | None:
        """The first unit that can be begun: its trials, if it has any, are over. Those that get no
        recipe from them are told of and left out."""
        while True:
            ready = (number for number, unit in enumerate(self._waiting) if self._is_ready(unit))
            number = next(ready, None)
            if number is None:
                return None
            unit = self._waiting[number]
            del self._waiting[number]
            found = self._settle(unit)
            if not isinstance(found, Failed):
                return found
            for event in refused(unit, found):
                self._handle(event)

    def _is_ready(self, unit: Unit) -> bool:
        tuning = unit.training.tuning
        return unit.train is None or tuning is None or self._trials.isdisjoint(tuning.trials)

    def _are_idle(self, slots: int) -> bool:
        """Whether workers have nothing to do beside those that run, wait and start now."""
        return len(self._running) + len(self._waiting) + 1 < slots

    def _halve(self) -> bool:
        """Share the most cells of one trained network between two units; False if none has two."""
        trained = [unit for unit in self._waiting if unit.train is None]
        largest = max(trained, key=lambda unit: len(unit.cells), default=None)
        if largest is None or len(largest.cells) < 2:
            return False
        at = self._waiting.index(largest)
        middle = (len(largest.cells) + 1) // 2
        self._waiting[at] = _narrowed(largest, largest.cells[:middle])
        self._waiting.insert(at + 1, _narrowed(largest, largest.cells[middle:]))
        return True

    def _message(self, number: int, message: wire.Message) -> None:
        running = self._running.get(number)
        cell = running.cells.get(message.identity) if running else None
        if running is None or cell is None:
            return  # of a worker that was given up
        running.current = cell
        event = wire.event(message, cell)
        self._handle(event)
        if isinstance(event, CellFinished):
            del running.cells[message.identity]
            running.current = None
            self._trials.discard(cell.identity)
            if cell.measure is None:
                running.failed = event.outcome.error

    def _over(self, over: Over) -> None:
        if over.error is not None and not over.lost:
            raise over.error
        running = self._running.pop(over.number, None)
        if running is None:
            return  # told twice
        if running.cells:
            self._count_loss(running)
        if running.failed is not None:
            self._fail((*running.cells.values(), *running.then), running.failed.passed_on())
        elif running.cells or running.then:
            self._waiting.appendleft(self._rest(running))

    def _count_loss(self, running: _Running) -> None:
        """A worker has died under this unit; give up a cell under which it happens again."""
        cell = running.current or next(iter(running.cells.values()))
        self._losses[cell.identity] = losses = self._losses.get(cell.identity, 0) + 1
        if losses < LOSSES:
            return
        error = Failed(WorkerLost.__name__, f"its worker died, {losses} times", "")
        del running.cells[cell.identity]
        self._trials.discard(cell.identity)
        self._fail((cell,), error)
        if cell.measure is None:
            running.failed = error

    def _fail(self, cells: Iterable[Cell], error: Failed) -> None:
        for cell in cells:
            self._handle(CellFinished.without_outcome(cell, error))

    def _rest(self, running: _Running) -> Unit:
        """What is left of a unit, with the weights that were recorded meanwhile."""
        unit, train = running.unit, running.unit.train
        cells = (*running.cells.values(), *running.then)
        if train is None:
            return _narrowed(unit, cells)
        if train.identity in running.cells:
            return replace(unit, cells=tuple(cell for cell in cells if cell is not train))
        return _narrowed(replace(unit, train=None, trained=self._weights(train.identity)), cells)


def _narrowed(unit: Unit, cells: tuple[Cell, ...]) -> Unit:
    """The unit with some of its cells, and their finished parts."""
    known = {cell.identity for cell in cells}
    parts = {identity: files for identity, files in unit.parts.items() if identity in known}
    return replace(unit, cells=cells, parts=parts)
