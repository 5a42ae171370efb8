"""The executor: has cells done, here or by an engine, and records each as it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import WeightsLostError
from bench.plan.cell import Cell, Limits
from bench.run.devices.lost import DeviceLost, is_lost
from bench.run.events import CellFinished, CellPart, Event
from bench.run.retrained import of_same_network, untried
from bench.run.tuned import refused, settled
from bench.store import files, parts
from bench.store.database import Store
from bench.store.outcome import Failed, Outcome

if TYPE_CHECKING:
    from bench.run.engine import Engine
    from bench.run.place import Place
    from bench.run.unit import Unit

Watch = Callable[[Event], None]


def units(cells: Iterable[Cell], store: Store) -> list[Unit]:
    """Group cells by the network they need."""
    from bench.run.unit import Unit

    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.training.identity, []).append(cell)
    found = []
    for identity, members in groups.items():
        training = members[0].training
        train = next((cell for cell in members if cell.measure is None), None)
        rest = tuple(cell for cell in members if cell.measure is not None)
        trained = training.weights
        if trained is None and train is None:
            trained = store.folder / files.cell_file(identity, "weights")
        # A network that is trained anew need not be the one that was measured half.
        carry_on = rest if train is None else ()
        kept = {cell.identity: parts.kept(store.folder, cell.identity) for cell in carry_on}
        found.append(Unit(training, train, rest, trained, kept))
    return found


def run(
    cells: list[Cell],
    store: Store,
    session: int,
    place: Place,
    workers: int,
    watch: Watch,
    limits: Limits | None = None,
    engine: Engine | None = None,
    lost: list[Cell] | None = None,
) -> None:
    """Do the cells and record each as soon as it is finished.

    One worker without limits does them in this process, unless that loses its GPU; else they are
    done in others, by an `engine` if one is given. There, exclusive cells (timings) wait until the
    others are done and then run one at a time.

    Cells whose network has lost its weights come into `lost` and are not recorded, for it can be
    trained again; without such a list they fail.

    Raises:
        BenchError: a worker cannot be started or used; what was finished is recorded.
    """
    limits = limits or Limits()
    ended: dict[str, Outcome] = {}

    def handle(event: Event) -> None:
        if isinstance(event, CellFinished):
            error = event.outcome.error
            if lost is not None and error and error.kind == WeightsLostError.__name__:
                lost.append(event.cell)
                return
            ended[event.cell.identity] = event.outcome
            record(store, session, event.cell, event.outcome)
            if event.outcome.error is None:
                parts.drop(store.folder, event.cell.identity)
        elif isinstance(event, CellPart):
            with store.in_place():
                parts.keep(store.folder, event.cell.identity, event.name, event.arrays)
        watch(event)

    # An earlier cell may have cost this process its GPU.
    if engine is None and workers == 1 and not limits and not is_lost(place.device):
        try:
            return _run_here(units(cells, store), store, place, handle)
        except DeviceLost:
            cells = [cell for cell in cells if cell.identity not in ended]
            if not cells:
                return
            print("the GPU is lost to this process; another one goes on", file=sys.stderr)
    if engine is None:
        from bench.run.engine import LocalEngine

        engine = LocalEngine(workers, limits, place.device, place.gpus)
    try:
        _run_there(cells, store, place, engine, handle, ended)
    finally:
        # Also at Ctrl-C or a full disk: do not wait for trainings that nobody will record.
        engine.close()


def record(store: Store, session: int, cell: Cell, outcome: Outcome) -> None:
    """Record a finished cell; with a new network, what is half measured of the old one goes, and
    what had failed for want of it."""
    if outcome.weights is not None:
        for identity in parts.identities(store.folder) & of_same_network(cell.training, store):
            parts.drop(store.folder, identity)
    if cell.measure is None and outcome.error is None:
        # Before: an end in between leaves a training that failed, and nothing that is untrue.
        store.forget(*untried(cell.training, store))
    store.record(session, cell.identity, cell.name, outcome)


def _run_here(found: list[Unit], store: Store, place: Place, handle: Watch) -> None:
    from bench.run.unit import execute

    for unit in found:
        ready = settled(unit, store)
        if isinstance(ready, Failed):
            for event in refused(unit, ready):
                handle(event)
        else:
            execute(ready, place, handle)


def _run_there(
    cells: list[Cell],
    store: Store,
    place: Place,
    engine: Engine,
    handle: Watch,
    ended: Mapping[str, Outcome],
) -> None:
    from bench.run.dispatch import dispatch

    def weights(identity: str) -> Path:
        return store.folder / files.cell_file(identity, "weights")

    def settle(unit: Unit) -> Unit | Failed:
        return settled(unit, store)

    shared = [cell for cell in cells if not cell.exclusive]
    dispatch(units(shared, store), engine, place, handle, weights, settle)
    alone = []
    for cell in cells:
        if not cell.exclusive:
            continue
        training = ended.get(cell.training.identity)
        if training is None or training.error is None:
            alone.append(cell)
        else:
            handle(CellFinished.without_outcome(cell, training.error.passed_on()))
    engine.rest()
    dispatch(units(alone, store), engine, place, handle, weights, settle, alone=True)
