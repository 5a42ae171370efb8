"""The embedded Fashion-MNIST as networks take it, and the images of it that are attacked."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from bench.data.embedded import fashion_mnist_mini


def images(part: str) -> tuple[Tensor, Tensor]:
    """float32 N x 1 x 28 x 28 in [0, 1] and int64 N of "train" or "test"."""
    split = getattr(fashion_mnist_mini(Path()), part)
    return split.images.float() / 255, split.labels


@torch.no_grad()
def attacked(network: nn.Module, count: int) -> tuple[Tensor, Tensor]:
    """The first test images that the network classifies correctly."""
    clean, labels = images("test")
    right = (network(clean).argmax(1) == labels).nonzero()[:count, 0]
    return clean[right], labels[right]
