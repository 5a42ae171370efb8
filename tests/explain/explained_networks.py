"""Networks to explain, small enough for tests, each with a random head so that gradients flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import arches
from bench.models.backbones import build
from bench.models.network import Network, Normalization

SWIN = {"model": {"embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 4, 8)}}
VIT = {"model": {"embed_dim": 48, "depth": 3, "num_heads": 3}}
MIXER = {"model": {"mlp_ratio": (0.1, 0.1)}}


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """The module with the same weights each time; heads that start at zero get random ones."""
    torch.manual_seed(0)
    network = make().eval()
    for module in network.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.1)
    return network


def paper(name: str, variant: str, in_chans: int = 1) -> nn.Module:
    return seeded(lambda: arches.create(name, variant, in_chans=in_chans, num_classes=10))


def foreign(name: str, variant: str = "bu", side: int = 64, **options: Any) -> nn.Module:
    return seeded(lambda: build(name, variant, 3, 10, options, side))


def wrapped(backbone: nn.Module) -> Network:
    """With a normalisation around it, as the networks of a run are."""
    scaling = Normalization(torch.tensor(0.4), torch.tensor(0.3))
    return Network(backbone, scaling, scaling).eval()


def plain_cnn() -> nn.Sequential:
    """Maps of 12 x 12 (modules 0 and 1), then 6 x 6 (2 to 4), from images 1 x 12 x 12."""
    made = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        )
    )
    assert isinstance(made, nn.Sequential)
    return made


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.ReLU(), nn.Linear(16, 4)).eval()


class PlainTokens(nn.Module):
    """A transformer whose attributes say nothing about where its tokens lie."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 8, 4, stride=4)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.embed(x).flatten(2).transpose(1, 2))
        logits: Tensor = self.head(tokens.mean(1))
        return logits


def images(count: int = 2, chans: int = 3, height: int = 64, width: int | None = None) -> Tensor:
    """Random images in [0, 1], the same each time."""
    random = torch.Generator().manual_seed(1)
    return torch.rand(count, chans, height, width or height, generator=random)
