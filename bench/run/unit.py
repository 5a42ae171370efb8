"""A unit of work: one network, trained or loaded once, and the cells that measure it.

It runs wherever the executor puts it and only tells what happened; it writes nothing.
"""

from __future__ import annotations

import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.data import catalog
from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.measures import base as measures
from bench.models import backbones, weights
from bench.models.network import Network, wrap
from bench.plan.cell import Cell, Training
from bench.registry import one_line
from bench.run.events import CellFinished, CellProgress, CellStarted, Event
from bench.store import transfer
from bench.store.outcome import Failed, Outcome
from bench.train.determinism import is_deterministic, numerics, seeded
from bench.train.trainer import Epoch, train
from leaderboard.results import MetricInfo

TRAIN_METRICS = {
    "validation_top1": MetricInfo("validation accuracy", "%", "higher", decimals=1),
    "train_loss": MetricInfo("training loss", "", "lower", decimals=3),
    "epochs": MetricInfo("epochs", "", "neither", decimals=0),
}

Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit works: the data root, the folder that paths in the suite start from, the
    device, and the number of CPU threads (0: torch's own choice)."""

    data_root: Path
    base: Path
    device: str
    download: bool = False
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Unit:
    """Cells of one training that are still to do. `train` is None where weights exist already
    (`trained`: their file, or the suite's own)."""

    training: Training
    train: Cell | None
    cells: tuple[Cell, ...]
    trained: Path | None


def execute(unit: Unit, place: Place, emit: Emit) -> None:
    """Do the unit, emitting an event for each start, progress and end of a cell.

    An error in one cell is that cell's outcome; the others go on. A failed training fails the
    cells that need it.
    """
    device = torch.device(place.device)
    if place.threads:
        torch.set_num_threads(place.threads)
    dataset = network = None
    with numerics(is_deterministic(unit.training.recipe, device), device):
        if unit.train is not None:
            cell = unit.train
            emit(CellStarted(cell))
            outcome, network = _trained(cell, place, device, emit)
            emit(CellFinished(cell, outcome))
            if outcome.error is not None:
                _fail_all(unit.cells, outcome.error, emit)
                return
        for cell in unit.cells:
            emit(CellStarted(cell))
            watch = _Watch()
            try:
                dataset = dataset or load_dataset(cell.training, place)
                network = network or _loaded(unit, dataset, device)
                outcome = _measured(cell, network, dataset, device, watch, emit)
            except Exception as error:
                outcome = watch.failed(error)
            emit(CellFinished(cell, outcome))


def _fail_all(cells: tuple[Cell, ...], cause: Failed, emit: Emit) -> None:
    for cell in cells:
        error = Failed(cause.kind, f"its training failed: {cause.message}", "")
        emit(CellFinished(cell, Outcome(time.time(), 0.0, 0.0, error=error)))


def _trained(
    cell: Cell, place: Place, device: torch.device, emit: Emit
) -> tuple[Outcome, Network | None]:
    training, watch = cell.training, _Watch()
    try:
        dataset = load_dataset(training, place)
        with seeded(training.seed):
            network = build_network(training, dataset)
            epochs = train(
                network,
                dataset,
                training.recipe,
                training.seed,
                device,
                report=lambda epoch: emit(_epoch_event(cell, epoch)),
            )
    except Exception as error:
        return watch.failed(error), None
    last = epochs[-1]
    metrics = {"train_loss": last.loss, "epochs": float(last.number)}
    if last.validation is not None:
        metrics["validation_top1"] = last.validation
    state = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    facts = {
        "losses": [epoch.loss for epoch in epochs],
        "validation": [epoch.validation for epoch in epochs],
        "environment": transfer.environment(device.type),
    }
    return watch.done(metrics, TRAIN_METRICS, weights=state, facts=facts), network


def _loaded(unit: Unit, dataset: Dataset, device: torch.device) -> Network:
    """The network with weights from a file: of an earlier session, or of the suite."""
    training = unit.training
    if unit.trained is None:
        raise BenchError("its training has no weights in this run")
    network = build_network(training, dataset)
    tensors = weights.read(unit.trained)
    # Files of a run hold the normalisation too; files of others hold the backbone alone.
    target = network if "normalize.mean" in tensors else network.backbone
    weights.load_into(target, tensors, str(unit.trained))
    return network.to(device).eval()


def build_network(training: Training, dataset: Dataset) -> Network:
    """The untrained network of a training, normalisation included, on the CPU."""
    backbone = backbones.build(
        training.backbone.name,
        training.variant,
        dataset.channels,
        dataset.num_classes,
        training.backbone.options,
    )
    return wrap(backbone, dataset, training.recipe)


def _measured(
    cell: Cell, network: Network, dataset: Dataset, device: torch.device, watch: _Watch, emit: Emit
) -> Outcome:
    measure = measures.load(str(cell.measure))
    context = measures.Context(
        network=network.eval(),
        dataset=dataset,
        device=device,
        seed=cell.training.seed,
        item=cell.item,
        options=cell.options,
        progress=lambda share: emit(CellProgress(cell, share, "")),
    )
    with seeded(cell.training.seed):
        found = measure.run(context)
    if not isinstance(found, measures.Found):
        found = measures.Found(found)
    metrics = {name: float(value) for name, value in found.metrics.items()}
    undefined = [name for name, value in metrics.items() if value != value]
    if undefined:
        raise BenchError(f"the measure returned NaN for {', '.join(undefined)}")
    return watch.done(metrics, measure.metrics, arrays=found.arrays)


def _epoch_event(cell: Cell, epoch: Epoch) -> CellProgress:
    total = cell.training.recipe.epochs
    text = f"epoch {epoch.number}/{total}, loss {epoch.loss:.3f}"
    if epoch.validation is not None:
        text += f", validation {epoch.validation:.1f} %"
    return CellProgress(cell, epoch.number / total, text)


_datasets: OrderedDict[str, Dataset] = OrderedDict()
DATASETS_KEPT = 2


def load_dataset(training: Training, place: Place) -> Dataset:
    """The training's data set, kept in memory for the cells that follow.

    Raises:
        DataError: missing or unusable.
    """
    ref = training.dataset
    key = repr((ref.name, sorted(ref.options.items()), str(place.data_root), str(place.base)))
    if key not in _datasets:
        _datasets[key] = catalog.load(
            ref.name,
            root=place.data_root,
            download=place.download,
            base=place.base,
            **ref.options,
        )
        while len(_datasets) > DATASETS_KEPT:
            _datasets.popitem(last=False)
    return _datasets[key]


class _Watch:
    """Wall and CPU time of a cell, and the outcome made from it."""

    def __init__(self) -> None:
        self.started = time.time()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def done(self, metrics: dict[str, float], infos: Any, **more: Any) -> Outcome:
        return Outcome(*self._times(), metrics=metrics, infos=infos, **more)

    def failed(self, error: Exception) -> Outcome:
        # The user's mistakes read well by themselves; of other errors the class matters.
        text = str(error).splitlines()[0] if isinstance(error, BenchError) else one_line(error)
        failed = Failed(type(error).__name__, text, traceback.format_exc())
        return Outcome(*self._times(), error=failed)

    def _times(self) -> tuple[float, float, float]:
        wall = time.perf_counter() - self._wall
        return self.started, wall, time.process_time() - self._cpu
