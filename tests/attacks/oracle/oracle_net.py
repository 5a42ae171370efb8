"""The network that oracle tests attack: a small CNN trained on the embedded Fashion-MNIST."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import nn

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
