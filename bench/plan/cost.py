"""What a plan will cost: each distinct network is timed for a moment, the rest is arithmetic.

For inverted networks that the paper does not have, it also tells what they cost over bu.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F

from bench.data import catalog
from bench.data.dataset import DatasetInfo
from bench.errors import BenchError, NotInvertibleError, NotSquareError
from bench.measures import base as measures
from bench.models import backbones, heap
from bench.models.grouped import grouped_in_fp32
from bench.models.settings import autocast, settle
from bench.plan import gpu_pace, guard
from bench.plan.cell import Cell, Training
from bench.registry import one_line

# Time spent on timing one network, at least; what one batch of a slow one may take; and what a cell
# costs beside its network (loading, writing).
SECONDS_EACH = 0.5
SECONDS_A_BATCH = 2.0
SECONDS_PER_CELL = 0.1
MOST_IMAGES = 256
FEW_IMAGES = 8
_NOT_KNOWN = "their data set or network could not be looked at"


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds per image of training and of prediction, and the sizes of the data set."""

    train: float
    predict: float
    info: DatasetInfo


@dataclass(slots=True)
class Look:
    """What is known before the run of one network on one data set.

    `place` is where the suite names its backbone; `pace` is that of this machine's CPU, `gpu` that
    of one GPU; `objection` is the reason why it may not be trained without an explicit yes, and
    `unknown` why there is no pace else.
    """

    place: str
    pace: Pace | None = None
    gpu: Pace | None = None
    over: guard.Over | None = None
    notes: list[str] = field(default_factory=list)
    objection: str | None = None
    unknown: str = _NOT_KNOWN


def look(cells: list[Cell], base: Path, timed: bool) -> dict[str, Look]:
    """Look at every `dataset/backbone/variant`.

    Args:
        cells: that are left to do.
        base: the folder that paths in the suite start from.
        timed: whether to build and time the networks; else only the table of measured models is
            asked.

    Raises:
        NotSquareError: images of one's own are not square, and no size is given for them.
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
    unknown: Counter[str] = Counter()
    tuning, gpu = 0.0, 0.0
    for cell in cells:
        pair = cell.training.pair
        pace = looks[pair].pace
        if pace is None:
            unknown[looks[pair].unknown] += looks[pair].objection is None
            continue
        seconds = _seconds(cell, pace)
        totals[pair] = totals.get(pair, 0.0) + seconds
        tuning += seconds if cell.training.trial else 0.0
        gpu += _seconds(cell, looks[pair].gpu or pace)
    if timed:
        total = _clock(sum(totals.values()))
        part = f", of it about {_clock(tuning)} for tuning" if tuning else ""
        yield f"estimate for this machine's CPU, one worker: {total}{part}"
        yield f"estimate for one GPU, {_how_told()}: {_clock(gpu)}"
        load, cores = os.getloadavg()[0], os.cpu_count() or 1
        if load > cores:
            yield f"note: the machine is busy (load {load:.1f} on {cores} cores): a rough estimate"
    for pair, seen in looks.items():
        texts = [_clock(totals[pair])] if pair in totals else []
        texts += [str(seen.over)] if seen.over else []
        if texts:
            yield f"  {pair}: {'; '.join(texts)}"
    for reason, count in unknown.items():
        if timed and count:
            yield f"  {count} cell{'s are' if count > 1 else ' is'} not in it: {reason}"
        elif not timed and reason != _NOT_KNOWN:  # what is wrong with a data set, at a glance
            yield f"note: {reason}"
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
    beside = measure.seconds(cell.options, pace.predict)
    return SECONDS_PER_CELL + images * pace.predict + beside


def _look(training: Training, base: Path, costs: guard.Guard | None) -> Look:
    why = _NOT_KNOWN
    try:
        info = catalog.info(training.dataset.name, training.dataset.options, base)
    except NotSquareError:
        raise
    except BenchError as error:
        info, why = None, str(error)
    except Exception:  # whatever a plugin raises; running it will tell
        info = None
    size = info.image_size if info else None
    notes = list(guard.warnings(training, size))
    seen = Look(training.place, over=guard.listed(training, size), notes=notes, unknown=why)
    misfit = training.recipe.augment.misfit(info.train_side) if info else None
    seen.objection = misfit or guard.objection(training, seen.over)
    # What is known to cost far too much is not built.
    if costs is not None and info is not None and seen.objection is None:
        try:
            seen.notes = _build(seen, training, info, costs)
        except NotInvertibleError as error:
            works = guard.bottom_up_works(training, info)
            seen.objection = guard.not_invertible(error) if works else str(error).rstrip(".")
        except BenchError as error:
            seen.objection = str(error).rstrip(".")
        except Exception as error:  # as above; what the table has against it may be the reason
            seen.unknown = f"{training.pair} fails on random images: {one_line(error)}"
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
        seen.pace = _timed(training, network, info, torch.device("cpu"))
        if gpu_pace.name():
            seen.gpu = _timed(training, network, info, torch.device("cuda"))
        else:
            seen.gpu = Pace(*gpu_pace.counted(network, info, training.recipe.batch_size), info)
    return [*guard.inversion_notes(network), *guard.unused_notes(training, network, info)]


def _how_told() -> str:
    if gpu_pace.name():
        return f"timed on {gpu_pace.name()}"
    rate, launch = gpu_pace.FLOPS_PER_SECOND / 1e12, gpu_pace.SECONDS_PER_OPERATION * 1e6
    return f"counted, not timed ({rate:.0f} TFLOP/s, {launch:.0f} µs an operation)"


def _timed(
    training: Training, network: torch.nn.Module, info: DatasetInfo, device: torch.device
) -> Pace:
    recipe = training.recipe
    settings = settle(recipe, device, network)
    # A batch is never larger than the set, and a part of a large one tells the pace as well.
    size = min(recipe.batch_size, info.train_samples, MOST_IMAGES)
    side = recipe.augment.crop or info.train_side
    images = torch.rand(size, info.channels, side, side, device=device)
    laid_out = images.contiguous(memory_format=settings.memory_format)
    tested = torch.rand(size, info.channels, info.image_size, info.image_size, device=device)
    labels = torch.randint(info.num_classes, (size,), device=device)
    threads = torch.get_num_threads()

    def step(count: int) -> None:
        with autocast(settings, device):
            logits = network(laid_out[:count]).float()
        F.cross_entropy(logits, labels[:count]).backward()

    def predict(count: int) -> None:
        # As measures do: weights in the layout of the training, images as they come.
        with torch.no_grad():
            network(tested[:count])

    network.to(device, memory_format=settings.memory_format)  # type: ignore[call-overload]
    heap.keep_freed()
    network.train()  # timed on one device, it is left as for predictions
    try:
        if settings.mode == "deterministic":
            torch.set_num_threads(1)
        with grouped_in_fp32(network, settings, device):
            train = _per_image(step, size, device)
    finally:
        torch.set_num_threads(threads)
    network.eval()
    predicted = _per_image(predict, size, device)
    network.to("cpu")
    return Pace(train, predicted, info)


def _per_image(action: Callable[[int], None], size: int, device: torch.device) -> float:
    """Seconds of one image in a batch of `size`, or of as many as take a moment: what a slow
    network needs for some tells its pace as well, though not for a few, where passing over the
    weights of a large one may be most of it. So more are taken as long as a batch is short.

    It is the shortest of some calls after one to warm up. One thread on a CPU is timed by what it
    computes, so that other load, which may take most of a core, does not count.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter

    def once(count: int) -> float:
        start = clock()
        action(count)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (clock() - start) / count

    count = min(size, FEW_IMAGES)
    once(count)
    until = time.perf_counter() + SECONDS_EACH
    spent = once(count)
    while (more := min(size, int(SECONDS_A_BATCH / max(spent, 1e-9)))) > 1.5 * count:
        count, spent = more, once(more)
    while time.perf_counter() < until:
        spent = min(spent, once(count))
    return spent


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
