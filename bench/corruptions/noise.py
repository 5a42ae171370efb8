"""Noise: Gaussian (bad light), shot (photons counted) and impulse (bits flipped)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from bench.corruptions.draws import Draws


def gaussian_noise(images: Tensor, draws: Draws, deviation: float) -> Tensor:
    """Normal noise of that standard deviation on every value."""
    return draws.normal(0, images.shape[1:]).mul_(deviation).add_(images).clamp_(0, 1)


def shot_noise(images: Tensor, draws: Draws, photons: int) -> Tensor:
    """Every value counted in photons: Poisson(value * photons) / photons.

    Counts are drawn by inverting the distribution, of which 8-bit images need 256; the thresholds
    are whole numbers, so that a count is the same on every device.
    """
    limits = _poisson_limits(photons).to(images.device)
    level = images.mul(255).round_().long()
    drawn = (level << 24) + draws.levels(0, images.shape[1:])
    found = torch.searchsorted(limits.flatten(), drawn, right=True)
    counts = found - level * limits.shape[1]
    return counts.double().div_(photons).clamp_(0, 1)


def impulse_noise(images: Tensor, draws: Draws, share: float) -> Tensor:
    """Salt and pepper: that share of values is set, half of them to 0 and half to 1."""
    flipped = draws.uniform(0, images.shape[1:]) < share
    salt = (draws.uniform(1, images.shape[1:]) < 0.5).to(images)
    return torch.where(flipped, salt, images)


@lru_cache(maxsize=32)
def _poisson_limits(photons: int) -> Tensor:
    """int64 256 x counts, sorted as a whole: row v has v * 2^24 + P(count <= k) * 2^24 for a
    Poisson variable of mean v / 255 * photons."""
    means = torch.arange(256, dtype=torch.float64)[:, None] / 255 * photons
    # Beyond nothing is left of 2^-24.
    counts = torch.arange(int(photons + 12 * photons**0.5 + 30), dtype=torch.float64)
    log_mass = torch.xlogy(counts, means) - means - torch.lgamma(counts + 1)
    share = log_mass.exp().cumsum(1).mul_(2.0**24).floor_().clamp_(max=2.0**24).long()
    share[:, -1] = 2**24
    return share + (torch.arange(256)[:, None] << 24)
