"""A unit of work: one network, trained or loaded once, and the cells that measure it.

It runs wherever the executor puts it and only tells what happened; it writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from arches.weights import apart
from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.foreign import contained
from bench.measures import base as measures
from bench.models import heap, weights
from bench.models.cudnn import exact
from bench.models.logits import check_logits
from bench.models.network import Network
from bench.models.settings import is_known_code, mode_of
from bench.plan.cell import Cell, Training
from bench.run.cell_warnings import warned
from bench.run.changed_plugins import edited
from bench.run.clock import CellClock
from bench.run.devices.lock import alone_on
from bench.run.devices.lost import DeviceLost, is_lost
from bench.run.events import CellFinished, CellPart, CellProgress, CellStarted, Event
from bench.run.measure_output import kept_of
from bench.run.networks import build_network, load_network, require_whole
from bench.run.notes import notes_on
from bench.run.place import Place, changed_dataset, content, load_dataset
from bench.run.pristine import Pristine
from bench.seeding import seeded
from bench.store import parts, transfer
from bench.store.outcome import NETWORK, NOTES, Failed, Outcome
from bench.store.tuned import RECIPE, SCORE
from bench.train.determinism import current, numerics, unfilled
from bench.train.trainer import Epoch, train
from leaderboard.results import MetricInfo

TRAIN_METRICS = {
    SCORE: MetricInfo("validation accuracy", "%", "higher", decimals=1),
    "train_loss": MetricInfo("training loss", "", "lower", decimals=3),
    "epochs": MetricInfo("epochs", "", "neither", decimals=0),
}

# Columns for a measure that declares no metrics: its first numbers.
UNDECLARED_SHOWN = 3

Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Unit:
    """Cells of one training that are still to do. `train` is None where weights exist already
    (`trained`: their file, or the suite's own). `parts` are files of parts that an interrupted
    session finished, by the cell's identity."""

    training: Training
    train: Cell | None
    cells: tuple[Cell, ...]
    trained: Path | None
    parts: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)

    @property
    def all_cells(self) -> tuple[Cell, ...]:
        """The training, if it is to be done, and what measures it, in the order of work."""
        return (self.train, *self.cells) if self.train else self.cells


def execute(unit: Unit, place: Place, emit: Emit) -> None:
    """Do the unit, emitting an event for each start, progress and end of a cell.

    An error in one cell is that cell's outcome; the others go on. A failed training fails the
    cells that need it.

    Raises:
        DeviceLost: a cell, which has failed, has cost this process its GPU; cells behind it are
            not begun.
    """
    heap.keep_freed()
    try:
        if error := edited(place):
            _fail_all(unit.all_cells, error, emit)
        else:
            _execute(unit, place, emit)
    except RuntimeError as error:  # a GPU that is lost may not even let itself be left
        if not is_lost(place.device):
            raise
        raise DeviceLost from error
    finally:
        heap.give_back()


def _execute(unit: Unit, place: Place, emit: Emit) -> None:
    device = torch.device(place.device)
    if place.threads:
        torch.set_num_threads(place.threads)
    dataset = network = pristine = None
    known: dict[str, Any] = {}
    with current(device), numerics(mode_of(unit.training.recipe, device), device):
        if unit.train is not None:
            cell = unit.train
            emit(CellStarted(cell))
            with contained():
                outcome, network = _trained(cell, place, device, emit)
            emit(CellFinished(cell, outcome))
            if outcome.error is not None:
                _fail_all(unit.cells, outcome.error.passed_on(), emit)
                if is_lost(device):
                    raise DeviceLost
                return
        for cell in unit.cells:
            emit(CellStarted(cell))
            watch, lost = CellClock(), False
            try:
                with contained():
                    dataset = dataset or load_dataset(cell.training, place)
                    network = network or _loaded(unit, dataset, device)
                    pristine = pristine or Pristine(network)
                    kept = _Kept(cell, unit.parts.get(cell.identity, {}), emit)
                    # Timings of other runs on this machine wait, as those of this one do.
                    with alone_on(device) if cell.exclusive else nullcontext():
                        outcome = _measured(cell, network, dataset, device, watch, kept, known)
            except (Exception, SystemExit) as error:
                outcome, lost = watch.failed(error), is_lost(device)
            changed = changed_dataset(cell.training, place)
            dataset = None if changed else dataset
            whole = None if lost else network
            if whole is not None and pristine is not None and pristine.restore(whole):
                changed = "network"
            if changed:
                known.clear()
                if outcome.error is None:
                    outcome = watch.changed(changed, cell.training.dataset.label)
            of = {NETWORK: pristine.fingerprint} if pristine else {}
            emit(CellFinished(cell, replace(outcome, facts={**outcome.facts, **of})))
            if lost:
                raise DeviceLost


def _fail_all(cells: tuple[Cell, ...], error: Failed, emit: Emit) -> None:
    for cell in cells:
        emit(CellFinished.without_outcome(cell, error))


def _trained(
    cell: Cell, place: Place, device: torch.device, emit: Emit
) -> tuple[Outcome, Network | None]:
    training, watch = cell.training, CellClock()
    try:
        dataset = load_dataset(training, place)
        if training.trial:
            # What chooses a recipe never gets to see the test images.
            dataset = dataset.without_test()
        with seeded(training.seed), warned(cell, emit):
            network = build_network(training, dataset)
            check_logits(network, dataset)
            notes = list(notes_on(training, dataset, network))
            history = train(
                network,
                dataset,
                training.recipe,
                training.seed,
                device,
                report=lambda epoch: emit(_epoch_event(cell, epoch)),
            )
    except (Exception, SystemExit) as error:
        return watch.failed(error), None
    epochs = history.epochs
    last = epochs[-1]
    metrics = {"train_loss": last.loss, "epochs": float(last.number)}
    if last.validation is not None:
        score = {SCORE: last.validation}
        metrics = score | metrics if training.trial else metrics | score
    facts = {
        "losses": [epoch.loss for epoch in epochs],
        "validation": [epoch.validation for epoch in epochs],
        "environment": transfer.environment(str(device)),
        "training": dict(history.facts),
        "content": content(training, place),
        RECIPE: training.recipe.model_dump(mode="json"),
        **({NOTES: notes} if notes else {}),
    }
    if training.trial:  # its accuracy is all that is wanted
        return watch.done(metrics, TRAIN_METRICS, facts=facts), None
    state = apart({name: tensor.cpu() for name, tensor in network.state_dict().items()})
    try:
        require_whole(network, state, training, dataset, device)
    except (Exception, SystemExit) as error:
        return watch.failed(error), None
    facts[NETWORK] = weights.fingerprint(state)
    return watch.done(metrics, TRAIN_METRICS, weights=state, facts=facts), network


def _loaded(unit: Unit, dataset: Dataset, device: torch.device) -> Network:
    """The network with weights from a file: of an earlier session, or of the suite."""
    if unit.trained is None:
        raise BenchError("its training has no weights in this run")
    return load_network(unit.training, unit.trained, dataset, device)


class _Kept(measures.Parts):
    """Parts of a cell: read from files of an earlier session, told as they are finished."""

    def __init__(self, cell: Cell, files: Mapping[str, Path], emit: Emit) -> None:
        self._files, self._cell, self.emit = files, cell, emit

    def get(self, name: str) -> Mapping[str, NDArray[Any]] | None:
        return parts.read(self._files, name)

    def put(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.emit(CellPart(self._cell, name, arrays))


def _measured(
    cell: Cell,
    network: Network,
    dataset: Dataset,
    device: torch.device,
    watch: CellClock,
    kept: _Kept,
    known: dict[str, Any],
) -> Outcome:
    measure = measures.load(str(cell.measure))
    context = measures.Context(
        network=network.eval(),
        dataset=dataset,
        device=device,
        seed=cell.training.seed,
        item=cell.item,
        options=cell.options,
        progress=lambda share: kept.emit(CellProgress(cell, share, "")),
        parts=kept,
        known=known,
    )
    trusted = unfilled(is_known_code(network.backbone))
    with exact(), seeded(cell.training.seed), trusted, warned(cell, kept.emit):
        found = measure.run(context)
    metrics, arrays = kept_of(found)
    infos = measure.metrics or {
        name: MetricInfo(name, headline=number < UNDECLARED_SHOWN)
        for number, name in enumerate(metrics)
    }
    return watch.done(metrics, infos, arrays=arrays)


def _epoch_event(cell: Cell, epoch: Epoch) -> CellProgress:
    total = cell.training.recipe.epochs
    text = f"epoch {epoch.number}/{total}, loss {epoch.loss:.3f}"
    if epoch.validation is not None:
        text += f", validation {epoch.validation:.1f} %"
    return CellProgress(cell, epoch.number / total, text)
