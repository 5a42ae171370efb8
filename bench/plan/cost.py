"""What a plan will cost: each distinct network is timed for a moment, the rest is arithmetic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from bench.data import catalog
from bench.data.dataset import DatasetInfo
from bench.measures import base as measures
from bench.models import backbones
from bench.plan.cell import Cell, Training

# Time spent on timing one network, and what a cell costs beside its network (loading, writing).
SECONDS_EACH = 0.5
SECONDS_PER_CELL = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds per image of training and of prediction, and the sizes of the data set."""

    train: float
    predict: float
    info: DatasetInfo


def estimate(cells: list[Cell], root: Path, base: Path) -> Iterator[str]:
    """Yield the lines that `bench plan` prints under the cells."""
    paces: dict[str, Pace | None] = {}
    totals: dict[str, float] = {}
    unknown = 0
    for cell in cells:
        training = cell.training
        pair = f"{training.dataset.label}/{training.backbone.label}/{training.variant}"
        if pair not in paces:
            paces[pair] = _pace(training, base)
        pace = paces[pair]
        if pace is None:
            unknown += 1
            continue
        totals[pair] = totals.get(pair, 0.0) + _seconds(cell, pace)
    yield f"estimate for this machine's CPU, one worker: {_clock(sum(totals.values()))}"
    for pair, seconds in totals.items():
        yield f"  {pair}: {_clock(seconds)}"
    if unknown:
        yield f"  {unknown} cells are not in it: their data set or network could not be looked at"


def _seconds(cell: Cell, pace: Pace) -> float:
    if cell.measure is None:
        recipe = cell.training.recipe
        kept = pace.info.train_samples * (1 - recipe.validation)
        held_out = pace.info.train_samples * recipe.validation
        each = kept * pace.train + held_out * pace.predict
        return SECONDS_PER_CELL + recipe.epochs * each
    measure = measures.load(cell.measure)
    images = measure.forwards(cell.options, pace.info.test_samples)
    return SECONDS_PER_CELL + images * pace.predict


def _pace(training: Training, base: Path) -> Pace | None:
    """Time the network of a training on random images; None where that is not possible."""
    try:
        info = catalog.info(training.dataset.name, training.dataset.options, base)
        if info is None:
            return None
        network = backbones.build(
            training.backbone.name,
            training.variant,
            info.channels,
            info.num_classes,
            training.backbone.options,
            info.image_size,
        )
        return _timed(training, network, info)
    except Exception:  # whatever a plugin raises; running it will tell
        return None


def _timed(training: Training, network: torch.nn.Module, info: DatasetInfo) -> Pace:
    size = training.recipe.batch_size
    side = training.recipe.augment.crop or info.image_size
    images = torch.rand(size, info.channels, side, side)
    labels = torch.randint(info.num_classes, (size,))

    def step() -> None:
        F.cross_entropy(network(images), labels).backward()

    def predict() -> None:
        with torch.no_grad():
            network(images)

    train = _time(step) / size
    network.eval()
    return Pace(train, _time(predict) / size, info)


def _time(action: Callable[[], None]) -> float:
    """Seconds of one call: the mean of calls for a moment, after one to warm up."""
    action()
    count, start = 0, time.perf_counter()
    while count < 2 or time.perf_counter() - start < SECONDS_EACH:
        action()
        count += 1
    return (time.perf_counter() - start) / count


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
