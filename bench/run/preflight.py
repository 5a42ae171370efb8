"""Before anything is trained: are the data there, can every network be built, do recipes fit?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import nn

import arches
from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.models import backbones
from bench.models.network import Network
from bench.plan.cell import Cell, Training
from bench.run.unit import Place, build_network, load_dataset

# An inverted network may cost this many times its bottom-up one before it needs an explicit yes.
COST_LIMIT = 30

# Running statistics that averaged fewer effective batches lag behind the weights.
SETTLED = 10


def check(cells: Iterable[Cell], place: Place) -> list[str]:
    """Load every data set and build every network of ours once; return notes on recipes.

    Raises:
        BenchError: what is missing or cannot be built, all of it at once, a line each.
    """
    problems: dict[str, None] = {}
    notes: dict[str, None] = {}
    seen: set[str] = set()
    for cell in cells:
        training = cell.training
        pair = f"{training.dataset.label}/{training.backbone.label}/{training.variant}"
        if pair in seen:
            continue
        seen.add(pair)
        try:
            dataset = load_dataset(training, place)
        except BenchError as error:
            problems[str(error)] = None
            continue
        try:
            notes.update(dict.fromkeys(_check_training(training, dataset)))
        except BenchError as error:
            problems[f"{pair}: {error}"] = None
    if problems:
        raise BenchError("\n".join(problems))
    return list(notes)


def _check_training(training: Training, dataset: Dataset) -> Iterator[str]:
    augment = training.recipe.augment
    side = min(dataset.train.images.shape[2:]) + 2 * augment.crop_padding
    if augment.crop is not None and augment.crop > side:
        raise BenchError(f"crop: {augment.crop} is larger than the training images ({side} pixels)")
    name = training.backbone.name
    if not backbones.is_declared(name) and not backbones.is_foreign(name):
        return  # a plugin that cannot be built is a failed cell; the others go on
    # Inversion runs the model it reads, which needs numbers.
    with torch.device("meta" if backbones.is_declared(name) else "cpu"):
        network = build_network(training, dataset)
    if backbones.is_foreign(name) and training.variant != "bu":
        _check_cost(training, dataset, network)
    if training.weights is None:
        yield from _slow_statistics(training, dataset, network)


def _check_cost(training: Training, dataset: Dataset, network: Network) -> None:
    """Refuse what costs over COST_LIMIT times its bottom-up network, unless the suite allows it."""
    if training.backbone.allow_cost:
        return
    plain = build_network(replace(training, variant="bu"), dataset)
    dearer = arches.estimate(network, dataset.image_size, dataset.channels).over(
        arches.estimate(plain, dataset.image_size, dataset.channels)
    )
    flops, memory = dearer["flops"], dearer["saved_bytes"]
    if max(flops, memory) > COST_LIMIT:
        raise BenchError(
            f"costs {flops:.0f} times the FLOPs and {memory:.0f} times the training memory of bu; "
            "if that is meant, give the backbone `allow_cost: true`"
        )


def _slow_statistics(training: Training, dataset: Dataset, network: nn.Module) -> Iterator[str]:
    """A note if batch normalisation cannot settle: accuracy would tell of that, not the net."""
    recipe = training.recipe
    own = [m.momentum for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if recipe.bn_momentum is not None:
        own = [recipe.bn_momentum for _ in own]
    momenta = [momentum for momentum in own if momentum]
    kept = len(dataset.train) * (1 - recipe.validation)
    steps = recipe.epochs * max(1, round(kept / recipe.batch_size))
    if momenta and steps * min(momenta) < SETTLED:
        yield (
            f"{training.dataset.label}/{training.backbone.label}: batch normalisation averages "
            f"with momentum {min(momenta):g} over {steps} steps only, so they lag behind and "
            "accuracy suffers; set bn_momentum (0.1 is PyTorch's) in the recipe"
        )
