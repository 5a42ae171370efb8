"""What a plan will cost: each distinct network is timed for a moment, the rest is arithmetic.

For inverted networks that the paper does not have, it also tells what they cost over bu.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F

from bench.data import catalog
from bench.data.dataset import DatasetInfo
from bench.errors import BenchError
from bench.measures import base as measures
from bench.models import backbones
from bench.models.settings import autocast, settle
from bench.plan import guard
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


@dataclass(slots=True)
class Look:
    """What is known before the run of one network on one data set.

    `place` is where the suite names its backbone; `objection` is the reason why it may not be
    trained without an explicit yes.
    """

    place: str
    pace: Pace | None = None
    over: guard.Over | None = None
    notes: list[str] = field(default_factory=list)
    objection: str | None = None


def look(cells: list[Cell], base: Path, timed: bool) -> dict[str, Look]:
    """Look at every `dataset/backbone/variant`.

    Args:
        cells: that are left to do.
        base: the folder that paths in the suite start from.
        timed: whether to build and time the networks; else only the table of measured models is
            asked.
    """
    found: dict[str, Look] = {}
    costs = guard.Guard()
    for cell in cells:
        if cell.training.pair not in found:
            found[cell.training.pair] = _look(cell.training, base, costs if timed else None)
    return found


def lines(cells: list[Cell], looks: dict[str, Look], timed: bool) -> Iterator[str]:
    """Yield the lines that `bench plan` prints under the cells."""
    totals: dict[str, float] = {}
    unknown, tuning = 0, 0.0
    for cell in cells:
        pair = cell.training.pair
        pace = looks[pair].pace
        if pace is None:
            unknown += looks[pair].objection is None
            continue
        seconds = _seconds(cell, pace)
        totals[pair] = totals.get(pair, 0.0) + seconds
        tuning += seconds if cell.training.trial else 0.0
    if timed:
        total = _clock(sum(totals.values()))
        part = f", of it about {_clock(tuning)} for tuning" if tuning else ""
        yield f"estimate for this machine's CPU, one worker: {total}{part}"
    for pair, seen in looks.items():
        texts = [_clock(totals[pair])] if pair in totals else []
        texts += [str(seen.over)] if seen.over else []
        if texts:
            yield f"  {pair}: {'; '.join(texts)}"
    if timed and unknown:
        yield f"  {unknown} cells are not in it: their data set or network could not be looked at"
    for pair, seen in looks.items():
        yield from (f"note: {pair}: {note}" for note in seen.notes)


def _seconds(cell: Cell, pace: Pace) -> float:
    if cell.measure is None:
        recipe = cell.training.recipe
        kept = pace.info.train_samples * (1 - recipe.validation)
        held_out = pace.info.train_samples * recipe.validation
        each = kept * pace.train + held_out * pace.predict
        # Of a training whose recipe is searched it is not known yet.
        epochs = [one.epochs for one in cell.training.recipes]
        return SECONDS_PER_CELL + sum(epochs) / len(epochs) * each
    measure = measures.load(cell.measure)
    images = measure.forwards(cell.options, pace.info.test_samples)
    return SECONDS_PER_CELL + images * pace.predict


def _look(training: Training, base: Path, costs: guard.Guard | None) -> Look:
    try:
        info = catalog.info(training.dataset.name, training.dataset.options, base)
    except Exception:  # whatever a plugin raises; running it will tell
        info = None
    size = info.image_size if info else None
    notes = list(guard.warnings(training, size))
    seen = Look(training.place, over=guard.listed(training, size), notes=notes)
    seen.objection = guard.objection(training, seen.over)
    # What is known to cost far too much is not built.
    if costs is not None and info is not None and seen.objection is None:
        try:
            seen.notes = _build(seen, training, info, costs)
        except BenchError as error:
            seen.notes = [f"{str(error).rstrip('.')} ({training.place})"]
        except Exception:  # as above; what the table has against it may be the reason
            return seen
    return seen


def _build(seen: Look, training: Training, info: DatasetInfo, costs: guard.Guard) -> list[str]:
    """Build the network of a training to measure and time it on random images; return notes."""
    name, options = training.backbone.name, training.backbone.options
    network = backbones.build(
        name, training.variant, info.channels, info.num_classes, options, info.image_size
    )
    if guard.is_guarded(training):
        seen.over = costs.measure(training, network, info) or seen.over
        seen.objection = guard.objection(training, seen.over)
    if seen.objection is None:
        seen.pace = _timed(training, network, info)
    return list(guard.width_notes(network))


def _timed(training: Training, network: torch.nn.Module, info: DatasetInfo) -> Pace:
    recipe, device = training.recipe, torch.device("cpu")
    settings = settle(recipe, device, network)
    size, side = recipe.batch_size, recipe.augment.crop or info.image_size
    images = torch.rand(size, info.channels, side, side)
    laid_out = images.contiguous(memory_format=settings.memory_format)
    labels = torch.randint(info.num_classes, (size,))
    threads = torch.get_num_threads()

    def step() -> None:
        with autocast(settings, device):
            logits = network(laid_out).float()
        F.cross_entropy(logits, labels).backward()

    def predict() -> None:
        with torch.no_grad():
            network(images)

    network.to(memory_format=settings.memory_format)
    try:
        if settings.mode == "deterministic":
            torch.set_num_threads(1)
        train = _time(step) / size
    finally:
        torch.set_num_threads(threads)
    network.to(memory_format=torch.contiguous_format).eval()
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
