"""Networks of the paper, of libraries and of one's own, under one name each: `model@variant`."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn

import arches
from arches.surface import ScaledNetwork

SIDE = 32
"""Side in pixels of the images that they are checked with."""


class Custom(nn.Module):
    """A small network of one's own: a stem and two strided convolutions."""

    def __init__(self, in_chans: int, num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_chans, width, 3, padding=1), nn.ReLU())
        self.down1 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.body1 = nn.Sequential(nn.BatchNorm2d(2 * width), nn.ReLU())
        self.down2 = nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1)
        self.body2 = nn.Sequential(nn.BatchNorm2d(4 * width), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body1(self.down1(self.stem(x)))
        x = self.body2(self.down2(x))
        logits: Tensor = self.head(self.pool(x).flatten(1))
        return logits


needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="needs timm")

BOTTOM_UP = (
    "lenet_fc@bu",
    pytest.param("timm/test_resnet@bu", marks=needs_timm),
    "custom@bu",
)
TOP_DOWN = (
    "nin_light@td",
    pytest.param("timm/test_resnet@td", marks=needs_timm),
    "torchvision/squeezenet1_1@td",
    "custom@td",
    "custom@td_uni",
)
NAMES = (*BOTTOM_UP, *TOP_DOWN)


@cache
def network(name: str) -> ScaledNetwork:
    """One of the family in evaluation mode, built once: tests leave it as it is."""
    model, _, variant = name.partition("@")
    torch.manual_seed(0)
    if model in arches.BACKBONES:
        return arches.create(model, variant).eval()
    given = Custom(3, 10) if model == "custom" else model
    return arches.invert(given, variant, image_size=SIDE).eval()
