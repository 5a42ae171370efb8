"""Small sets and networks to train, and a digest of what came out."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

import arches
from bench.data.dataset import Dataset, Split
from bench.models.network import Network, wrap
from bench.seeding import seeded
from bench.suite.recipe import Recipe
from bench.train.determinism import numerics
from bench.train.trainer import Epoch, train

CPU = torch.device("cpu")


def corners(count: int, side: int, seed: int, channels: int = 1) -> Split:
    """Noise with a bright square in one of four corners: learnt in a few steps."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    images = torch.randint(0, 90, (count, channels, side, side), generator=random)
    half = side // 2
    for image, label in zip(images, labels.tolist(), strict=True):
        top, left = half * (label // 2), half * (label % 2)
        image[:, top : top + half, left : left + half] += 120
    return Split(images.to(torch.uint8), labels)


def corner_set(
    train_count: int = 60, side: int = 12, channels: int = 1, test_side: int | None = None
) -> Dataset:
    return Dataset(
        "corners",
        corners(train_count, side, 1, channels),
        corners(20, test_side or side, 2, channels),
        ("a", "b", "c", "d"),
        (0.4,) * channels,
        (0.25,) * channels,
    )


def linear(dataset: Dataset, side: int | None = None) -> nn.Module:
    pixels = dataset.channels * (side or dataset.image_size) ** 2
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, dataset.num_classes))


def lenet(dataset: Dataset, variant: str = "bu") -> nn.Module:
    return arches.create("lenet_fc", variant, dataset.channels, dataset.num_classes)


def trained(
    dataset: Dataset, recipe: Recipe, seed: int = 0, variant: str = "bu"
) -> tuple[Network, list[Epoch]]:
    """A LeNetFC of the data set, seeded and trained the way a run does it."""
    with numerics("deterministic", CPU), seeded(seed):
        network = wrap(lenet(dataset, variant), dataset, recipe)
        return network, list(train(network, dataset, recipe, seed, CPU).epochs)


def digest(network: nn.Module) -> str:
    """SHA-256 over all weights and statistics, to the bit."""
    total = hashlib.sha256()
    for name, value in network.state_dict().items():
        total.update(name.encode() + value.contiguous().numpy().tobytes())
    return total.hexdigest()


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return digest(one) == digest(other)


def ramps(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Images of three channels: the column's number, the row's number, noise."""
    noise = torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(seed))
    column = torch.arange(width).float().expand(count, 1, height, width)
    row = torch.arange(height).float()[:, None].expand(count, 1, height, width)
    return torch.cat([column, row, noise], 1)
