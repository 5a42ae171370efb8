"""The executor: decides what is still to do, has it done, and records each cell as it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.plan.cell import Cell, Limits
from bench.run.devices.lost import DeviceLost, is_lost
from bench.run.events import CellFinished, CellPart, Event
from bench.run.renewed import of_same_network
from bench.run.tuned import refused, settled
from bench.store import parts
from bench.store.database import Store
from bench.store.outcome import Failed, Outcome

if TYPE_CHECKING:
    from bench.run.engine import Engine
    from bench.run.place import Place
    from bench.run.unit import Unit

Watch = Callable[[Event], None]


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
            trained = store.folder / store.file_of(identity, "weights")
        # A network that is trained anew need not be the one that was measured half.
        carry_on = rest if train is None else ()
        kept = {cell.identity: parts.kept(store.folder, cell.identity) for cell in carry_on}
        found.append(Unit(training, train, rest, trained, kept))
    return found


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


def run(
    cells: list[Cell],
    store: Store,
    session: int,
    place: Place,
    workers: int,
    watch: Watch,
    limits: Limits | None = None,
    engine: Engine | None = None,
) -> None:
    """Do the cells and record each as soon as it is finished.

    One worker without limits does them in this process, unless that loses its GPU; else they are
    done in others, by an `engine` if one is given. There, exclusive cells (timings) wait until the
    others are done and then run one at a time.

    Raises:
        BenchError: a worker cannot be started or used; what was finished is recorded.
    """
    limits = limits or Limits()
    ended: dict[str, Outcome] = {}

    def handle(event: Event) -> None:
        if isinstance(event, CellFinished):
            ended[event.cell.identity] = event.outcome
            _record(store, session, event.cell, event.outcome)
            if event.outcome.error is None:
                parts.drop(store.folder, event.cell.identity)
        elif isinstance(event, CellPart):
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


def _record(store: Store, session: int, cell: Cell, outcome: Outcome) -> None:
    """Record a finished cell; with a new network, what is half measured of the old one goes."""
    if outcome.weights is not None:
        for identity in parts.identities(store.folder) & of_same_network(cell.training, store):
            parts.drop(store.folder, identity)
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
        return store.folder / store.file_of(identity, "weights")

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
            if (folder / store.file_of(identity, "weights")).is_file() and _borrow(
                wanted[identity], folder, store, session, place
            ):
                taken.add(identity)
    return [cell for cell in cells if cell.identity not in taken]


def borrowed(cells: Iterable[Cell], folder: Path, device: str) -> dict[str, Path]:
    """By identity, the trainings that `borrow_trainings` would take over for a run in `folder`, and
    from which run; that data sets have the same content still is taken for granted. Nothing is
    changed on the disk."""
    from bench.store.transfer import has_training

    wanted, found = _to_borrow(cells), dict[str, Path]()
    for other in _neighbours(folder) if wanted else ():
        for identity in wanted.keys() - found:
            if (other / "weights" / f"{identity}.safetensors").is_file() and has_training(
                other, identity, device
            ):
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
    from bench.store.database import NAME

    here = folder.resolve()
    return [
        path.parent
        for path in sorted(here.parent.glob(f"*/{NAME}"))
        if path.parent.resolve() != here
    ]


def _borrow(cell: Cell, folder: Path, store: Store, session: int, place: Place) -> bool:
    from bench.store.transfer import training_from

    content = place.contents.get(cell.training.dataset.label)
    outcome = training_from(folder, cell.identity, place.device, content)
    if outcome is None:
        return False
    _record(store, session, cell, outcome)
    return True
