"""Problems to attack, with networks whose answer on an image never depends on the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.attacks.problem import Problem
from bench.attacks.source import KeyedSource

Logits = Callable[[Tensor], Tensor]


def images(count: int, channels: int = 1, height: int = 8, width: int = 8, seed: int = 0) -> Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed))


def contrast(threshold: float) -> Logits:
    """Class 1 for images whose pixels vary by more than `threshold`, in float64."""

    def logits(batch: Tensor) -> Tensor:
        spread = torch.stack([image.double().std() for image in batch])
        return torch.stack([torch.full_like(spread, threshold), spread], 1)

    return logits


def roughness(threshold: float) -> Logits:
    """Class 1 for images whose neighbouring pixels differ by more than `threshold`."""

    def logits(batch: Tensor) -> Tensor:
        steps = torch.stack([image.double().diff(dim=-1).abs().mean() for image in batch])
        return torch.stack([torch.full_like(steps, threshold), steps], 1)

    return logits


def never(batch: Tensor) -> Tensor:
    return torch.tensor([[1.0, 0.0]]).expand(len(batch), 2)


def problem(
    clean: Tensor,
    logits: Logits,
    samples: list[int] | None = None,
    seed: int = 0,
    name: str = "additive_gaussian",
    **more: Any,
) -> Problem:
    """A problem whose labels are what the network says of the clean images."""
    numbers = samples if samples is not None else list(range(len(clean)))
    source = KeyedSource(seed, name, 0, numbers)
    return Problem(clean, logits(clean).argmax(1), logits, source, **more)
