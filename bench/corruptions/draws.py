"""Random numbers of a corruption, which belong to an image rather than to a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from bench.attacks.source import KeyedSource


class Draws:
    """What one corruption draws for a batch: keyed by seed, corruption, severity and image.

    `step` says what numbers are for: the same step gives the same numbers. They are float64, so
    that what is made of them is the same on every device up to rounding.
    """

    def __init__(
        self,
        seed: int,
        corruption: str,
        severity: int,
        samples: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        key = f"corruption {corruption}"
        self._source = KeyedSource(seed, key, severity, samples, device)
        self._rows = torch.arange(len(samples), device=device)

    def levels(self, step: int, shape: Sequence[int]) -> Tensor:
        """int64 N x shape, uniform in 0 .. 2^24 - 1."""
        return self._source.uniform(self._rows, step, shape).mul_(2.0**24).long()

    def uniform(self, step: int, shape: Sequence[int], low: float = 0, high: float = 1) -> Tensor:
        """float64 N x shape, uniform in [low, high)."""
        unit = self._source.uniform(self._rows, step, shape).double()
        return unit.mul_(high - low).add_(low)

    def normal(self, step: int, shape: Sequence[int]) -> Tensor:
        """float64 N x shape, standard normal (Box and Muller, 1958), within 5.8."""
        count = math.prod(shape)
        pairs = self.uniform(step, (2, -(-count // 2)))
        # In (0, 1], so that the logarithm is finite.
        radius = pairs[:, 0].add(2.0**-24).log_().mul_(-2).sqrt_()
        angle = pairs[:, 1].mul(2 * math.pi)
        both = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
        return both[:, :count].reshape(-1, *shape)
