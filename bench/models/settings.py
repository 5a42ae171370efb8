"""What a recipe's `mode`, `precision` and `channels_last` come to on a device, for a network.

Rules on hardware and code decide, never a timing: the same recipe on the same machine always
comes to the same settings, and they are recorded with the training.
"""

from __future__ import annotations

import contextlib
import statistics
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from arches.code import packages
from bench.models.hardware import computes_bf16
from bench.suite.recipe import Recipe

Mode = Literal["deterministic", "fast"]
Precision = Literal["fp32", "bf16", "fp16"]

# Code that is known to train as well in bfloat16 and channels_last, and whose modules do the same
# at every step. Other code may reshape by `view`, mix types, or decide anew in Python.
KNOWN_CODE = frozenset({"arches", "timm", "torch", "torchvision"})


# Median width of convolutions below which bfloat16 costs accuracy: half a point (ten seeds of
# LeNetFC td, 160 steps on 10,000 images of Fashion-MNIST), none in wider networks.
NARROW = 24


@dataclass(frozen=True, slots=True)
class Settings:
    """How a training computes: nothing is left open in it.

    `known_code`: every module is of PyTorch, torchvision, timm or the paper's networks.
    """

    mode: Mode
    precision: Precision
    channels_last: bool
    known_code: bool

    @property
    def memory_format(self) -> torch.memory_format:
        """Of weights and images while training."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def facts(self) -> dict[str, Any]:
        """For the record, as plain data."""
        layout = "channels_last" if self.channels_last else "contiguous"
        return {"mode": self.mode, "precision": self.precision, "memory_format": layout}


def settle(recipe: Recipe, device: torch.device, backbone: nn.Module) -> Settings:
    """Decide what the recipe leaves open.

    `precision: auto` is bf16 where the device computes it natively and the network is not narrow,
    `channels_last: auto` is true, both for networks of known code only; else fp32 and false.
    """
    known = is_known_code(backbone)
    precision, last = recipe.precision, recipe.channels_last
    if precision == "auto":
        native = known and computes_bf16(device)
        precision = "bf16" if native and not is_narrow(backbone) else "fp32"
    if last == "auto":
        last = known
    return Settings(mode_of(recipe, device), precision, last, known)


def mode_of(recipe: Recipe, device: torch.device) -> Mode:
    """The recipe's mode; where it has none, deterministic on the CPU and fast on CUDA."""
    if recipe.mode is None:
        return "fast" if device.type == "cuda" else "deterministic"
    return recipe.mode


def is_narrow(network: nn.Module) -> bool:
    """Whether half of the convolutions have fewer channels than `NARROW`; few values to a sum
    leave bfloat16's rounding in it."""
    convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    widths = [m.out_channels for m in network.modules() if isinstance(m, convolutions)]
    return bool(widths) and statistics.median(widths) < NARROW


def is_known_code(network: nn.Module) -> bool:
    """Whether every module's class is of `KNOWN_CODE`; traced code is somebody's own.

    An inverted network is known if the model that it was made from is: the two are compared, so
    they are trained alike.
    """
    return packages(network) <= KNOWN_CODE


def autocast(settings: Settings, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Autocast for the precision; nothing for fp32."""
    if settings.precision == "fp32":
        return contextlib.nullcontext()
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float16
    # Weights are used once a step: a cache of their casts would only be memory.
    return torch.autocast(device.type, dtype=dtype, cache_enabled=False)
