"""Gaussian blur of growing width (Foolbox 2.x's algorithm and defaults)."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.attacks.base import Attack, Problem


def run(problem: Problem, *, epsilons: int = 1000) -> Tensor:
    """For eps = 1/epsilons .. 1: blur with sigma = eps * max(H, W) pixels; the first hit is kept.

    The blur is scipy.ndimage.gaussian_filter's: separable, reflected borders (edge pixel
    repeated), truncated at 4 sigma. Images found leave the batch.
    """
    images = problem.images
    height, width = images.shape[2:]
    found = images.clone()
    active = torch.arange(len(images), device=images.device)
    for step in range(1, epsilons + 1):
        if len(active) == 0:
            break
        sigma = step / epsilons * max(height, width)
        rows = blur_matrix(height, sigma).to(images)
        columns = rows if width == height else blur_matrix(width, sigma).to(images)
        candidates = (rows @ images[active] @ columns.T).clamp_(0, 1)
        hit = problem.fooled(candidates, active)
        found[active[hit]] = candidates[hit]
        active = active[~hit]
    return found


def blur_matrix(size: int, sigma: float, truncate: float = 4.0) -> Tensor:
    """The size x size matrix (float64) of a 1-D Gaussian filter with reflected borders.

    A border reflected again and again is a folding of the line, so the whole filter, however
    wide, is one small matrix.
    """
    radius = int(truncate * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    taps = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    taps /= taps.sum()
    position = (torch.arange(size)[:, None] + offsets[None, :]) % (2 * size)
    source = torch.where(position < size, position, 2 * size - 1 - position)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, source, taps.expand(size, -1))


ATTACK = Attack(run, deterministic=True, defaults={"epsilons": 1000})
