"""Grouped convolutions, depthwise ones among them, of a training in bfloat16 on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from bench.models.settings import Settings


def grouped(network: nn.Module) -> list[_ConvNd]:
    """The convolutions of a network in which not every channel meets every other."""
    return [m for m in network.modules() if isinstance(m, _ConvNd) and m.groups > 1]


def computed_apart(settings: Settings, device: torch.device) -> bool:
    """Whether `grouped_in_fp32` changes anything on this device."""
    return settings.precision == "bf16" and device.type == "cpu"


@contextmanager
def grouped_in_fp32(network: nn.Module, settings: Settings, device: torch.device) -> Iterator[None]:
    """Inside, a training in bfloat16 on the CPU computes grouped convolutions in float32.

    PyTorch's gradients of them are slow in bfloat16 there: a training step of 64 images of 32
    pixels takes half the time so in MobileNetV3 and EfficientNet, and two thirds in ConvNeXt
    (PyTorch 2.14 on an Intel Xeon with AMX). Few values to a sum gain nothing from bfloat16.
    """
    changed = grouped(network) if computed_apart(settings, device) else []
    changed = [module for module in changed if "forward" not in vars(module)]
    for module in changed:
        module.forward = _in_fp32(module.forward)
    try:
        yield
    finally:
        for module in changed:
            vars(module).pop("forward", None)


def _in_fp32(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(maps: Tensor, *more: Any, **named: Any) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return forward(maps.float(), *more, **named)

    return run
