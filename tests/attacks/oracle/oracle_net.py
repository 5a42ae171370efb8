"""The network that oracle tests attack: a small CNN trained on the embedded Fashion-MNIST."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.data.embedded import fashion_mnist_mini

WEIGHTS = Path(__file__).with_name("weights.safetensors")


def untrained() -> nn.Sequential:
    """1 x 28 x 28 images in [0, 1] to ten logits."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 7 * 7, 10),
    )


def trained() -> nn.Sequential:
    network = untrained()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval().requires_grad_(False)


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
