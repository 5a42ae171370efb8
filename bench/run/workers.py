"""`--workers auto`: as many processes side by side as cores and memory allow.

Small trainings leave a GPU idle most of the time, so several of them share it. How many is
arithmetic on the networks and on what is free now; results do not depend on it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

import arches
from bench.data.dataset import Dataset
from bench.models import backbones
from bench.models.main_memory import available
from bench.plan.cell import Cell, Training
from bench.run.networks import build_network
from bench.run.place import Place, load_dataset
from bench.train.images import fit

GIB = 2**30
# A process with PyTorch by itself: resident memory, and a CUDA context with its libraries.
PROCESS = {"cpu": 0.9 * GIB, "cuda": 0.8 * GIB}
# Main memory of a process that works on a GPU: CUDA's libraries are large.
BESIDE_A_GPU = 2.0 * GIB
# Of the free memory, what is left for others; over the activations, what kernels work in.
MARGIN, WORKSPACE = 0.9, 1.5
# Processes take turns on a GPU: beyond some, they only wait for each other.
MOST_ON_A_GPU = 8
# Images that are predicted at once (`bench.models.predict`).
PREDICTED = 500


@dataclass(frozen=True, slots=True)
class Workers:
    """A number of processes, and why it is that."""

    count: int
    reason: str


def choose(cells: Iterable[Cell], place: Place) -> Workers:
    """How many workers are best for what is left to do.

    The smallest of: trainings left, cores, and how often the largest training fits into the free
    memory of the device, times the number of GPUs (and beside a GPU, its process into main memory).
    One on each, where the memory of a network cannot be told.
    """
    trainings = {cell.training.identity: cell.training for cell in cells}
    device = torch.device(place.device)
    gpus = [torch.device(device.type, number) for number in place.gpus] or [device]
    free, most = min(map(free_memory, gpus)), cores()
    limits = {len(trainings): f"{len(trainings)} trainings", most: f"{most} cores"}
    if device.type == "cuda":
        limits.setdefault(len(gpus) * MOST_ON_A_GPU, f"at most {MOST_ON_A_GPU} on a GPU")
        main = free_memory(torch.device("cpu"))
        told = f"{BESIDE_A_GPU / GIB:.1f} GiB of main memory each, {main / GIB:.1f} GiB free"
        limits.setdefault(max(1, int(MARGIN * main // BESIDE_A_GPU)), told)
    if min(limits) > 1:
        need = max(_needs(trainings.values(), place, device.type, free))
        fits = max(1, int(MARGIN * free // need))  # 1 where the need is infinite
        each = "unknown memory" if math.isinf(need) else f"{need / GIB:.1f} GiB"
        where = "" if len(gpus) == 1 else f" on each of {len(gpus)} GPUs"
        limits.setdefault(len(gpus) * fits, f"{each} each, {free / GIB:.1f} GiB free{where}")
    count = max(1, min(limits))
    return Workers(count, limits[min(limits)])


def _needs(trainings: Iterable[Training], place: Place, kind: str, free: float) -> Iterator[float]:
    """Memory in bytes of each distinct training; infinite where it cannot be told."""
    largest: dict[str, Training] = {}
    for training in trainings:
        for recipe in training.recipes:  # a search may try several sizes of batches
            known = largest.get(training.pair)
            if known is None or recipe.batch_size > known.recipe.batch_size:
                largest[training.pair] = training.settled(recipe)
    for training in largest.values():
        try:
            dataset = load_dataset(training, place)
            declared = backbones.is_declared(training.backbone.name)
            with torch.device("meta" if declared else "cpu"):
                network = build_network(training, dataset)
            yield memory(training, network, dataset, kind, free)
        except Exception:  # what a plugin raises will be told by its cell
            yield float("inf")


def memory(
    training: Training,
    network: nn.Module,
    dataset: Dataset,
    kind: str,
    free: float = math.inf,
) -> float:
    """About how many bytes a process takes that trains and measures this network, on a device with
    so many `free` ones.

    The process itself, the images that it holds, weights four times (themselves, gradients,
    momentum, a copy while measuring), and the larger of what training keeps for its backward pass
    and what a prediction holds at once. On CUDA a captured step keeps its own beside that.
    """
    recipe = training.recipe
    side = recipe.augment.crop or int(dataset.train.images.shape[2])
    cost = arches.estimate(network, side, dataset.channels)
    # A batch is never larger than the set.
    trained = min(recipe.batch_size, len(dataset.train)) * cost.saved_bytes
    kept = max(trained, PREDICTED * cost.peak_bytes)
    if kind == "cuda":
        kept += trained
    return PROCESS[kind] + _images(dataset, kind, free) + 4 * 4 * cost.parameters + WORKSPACE * kept


def _images(dataset: Dataset, kind: str, free: float) -> int:
    """Bytes of the images that each process holds: not of those that all map from one file, but on
    a GPU that they fit on."""
    train, test = dataset.train, dataset.test
    found = 0 if test.file else test.images.nbytes
    held = fit(train.images.nbytes, free) if kind == "cuda" else train.file is None
    return found + (train.images.nbytes if held else 0)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory(device: torch.device) -> float:
    """Free bytes of the device; of the CPU what the system and its control group allow, or half of
    the memory where they do not say."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    free = available()
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2 if free is None else free
