"""The executor: decides what is still to do, has it done, and records each cell as it ends."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.plan.cell import Cell
from bench.run.events import CellFinished, CellPart, Event
from bench.store import parts
from bench.store.database import Store

if TYPE_CHECKING:
    from bench.run.place import Place
    from bench.run.unit import Unit

Watch = Callable[[Event], None]


def distinct(cells: Iterable[Cell]) -> list[Cell]:
    """One cell of each identity: two labels for the same thing are measured once."""
    found: dict[str, Cell] = {}
    for cell in cells:
        found.setdefault(cell.identity, cell)
    return list(found.values())


def to_do(cells: Iterable[Cell], store: Store, retry_failed: bool = False) -> list[Cell]:
    """The cells without a result, in order; failed ones too if they are to be tried again.

    A training whose weights are needed but missing or damaged is taken back and done again.
    """
    cells = distinct(cells)
    store.forget_lost_files()
    statuses = store.statuses()
    _take_back_damaged(cells, store, statuses)
    over = {"done"} if retry_failed else {"done", "failed"}
    chosen = [cell for cell in cells if statuses.get(cell.identity) not in over]
    if retry_failed:
        return chosen
    # What needs a training that failed cannot be done either.
    return [
        cell
        for cell in chosen
        if cell.measure is None or statuses.get(cell.training.identity) != "failed"
    ]


def _take_back_damaged(cells: list[Cell], store: Store, statuses: dict[str, str]) -> None:
    """Also out of the `statuses`."""
    needed = {
        cell.training.identity
        for cell in cells
        if cell.measure is not None
        and cell.training.weights is None
        and cell.identity not in statuses
    }
    for identity in needed:
        if statuses.get(identity) == "done" and not store.is_whole(identity):
            store.forget(identity)
            del statuses[identity]


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
        kept = {cell.identity: parts.kept(store.folder, cell.identity) for cell in rest}
        found.append(Unit(training, train, rest, trained, kept))
    return found


def carried_on(cells: Iterable[Cell], folder: Path) -> dict[str, int]:
    """Names of the cells that an interrupted session left half done, with their finished parts."""
    counts = {cell.name: len(parts.kept(folder, cell.identity)) for cell in cells}
    return {name: count for name, count in counts.items() if count}


def run(
    cells: list[Cell], store: Store, session: int, place: Place, workers: int, watch: Watch
) -> None:
    """Do the cells and record each as soon as it is finished.

    With several workers, exclusive cells (timings) wait until the others are done and then
    run in this process alone.

    Raises:
        BenchError: a worker process died; what was finished is recorded.
    """

    def handle(event: Event) -> None:
        if isinstance(event, CellFinished):
            store.record(session, event.cell.identity, event.cell.name, event.outcome)
            if event.outcome.error is None:
                parts.drop(store.folder, event.cell.identity)
        elif isinstance(event, CellPart):
            parts.keep(store.folder, event.cell.identity, event.name, event.arrays)
        watch(event)

    if workers == 1:
        _run_here(units(cells, store), place, handle)
        return
    shared = [cell for cell in cells if not cell.exclusive]
    _run_pool(units(shared, store), place, workers, handle)
    statuses = store.statuses()
    alone = [
        cell
        for cell in cells
        if cell.exclusive and statuses.get(cell.training.identity) != "failed"
    ]
    _run_here(units(alone, store), place, handle)


def _run_here(found: list[Unit], place: Place, handle: Watch) -> None:
    from bench.run.unit import execute

    for unit in found:
        execute(unit, place, handle)


def _run_pool(found: list[Unit], place: Place, workers: int, handle: Watch) -> None:
    """Run units in fresh processes; their events come back through one queue."""
    if not found:
        return
    import dataclasses

    place = dataclasses.replace(place, threads=max(1, (os.cpu_count() or 1) // workers))
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        events: queue.Queue[Event] = manager.Queue()
        with ProcessPoolExecutor(min(workers, len(found)), mp_context=context) as pool:
            futures = [pool.submit(_work, unit, place, events) for unit in found]
            try:
                for event in _events(futures, events):
                    handle(event)
            except BaseException:
                # Ctrl-C, or a full disk: do not wait for trainings that nobody will record.
                for process in list((pool._processes or {}).values()):
                    process.terminate()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _events(futures: list[Future[None]], events: queue.Queue[Event]) -> Iterator[Event]:
    """Yield events until all futures are done and the queue is empty."""
    pending = True
    while pending:
        pending = not all(future.done() for future in futures)
        try:
            while True:
                yield events.get(timeout=0.2 if pending else 0.01)
        except queue.Empty:
            continue
    for future in futures:
        try:
            future.result()
        except BrokenProcessPool:
            raise BenchError(
                "a worker process died (killed, out of memory, or a crash in native code); "
                "what was finished is kept: run the same command again"
            ) from None


def _work(unit: Unit, place: Place, events: queue.Queue[Event]) -> None:
    """In the worker process."""
    import signal

    from bench.run.unit import execute

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    execute(unit, place, events.put)


def borrow_trainings(cells: list[Cell], store: Store, session: int, place: Place) -> list[Cell]:
    """Take over identical trainings from the runs beside this one; return the cells left to do.

    A run directory's neighbours are the other folders with a results file in the same parent.
    Weights count only if they come from the same torch version, kind of device and content of the
    data set, and their checksum holds.
    """
    wanted = {cell.identity: cell for cell in cells if cell.measure is None}
    taken: set[str] = set()
    for folder in _neighbours(store.folder) if wanted else ():
        for identity in list(wanted.keys() - taken):
            if (folder / store.file_of(identity, "weights")).is_file() and _borrow(
                wanted[identity], folder, store, session, place
            ):
                taken.add(identity)
    return [cell for cell in cells if cell.identity not in taken]


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
    store.record(session, cell.identity, cell.name, outcome)
    return True
