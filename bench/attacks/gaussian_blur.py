"""Gaussian blur of growing width (Foolbox 2.x's algorithm and defaults)."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.attacks.base import Attack
from bench.attacks.line_search import SEARCHES, Search, first_hit
from bench.attacks.problem import Problem


def run(problem: Problem, *, epsilons: int = 1000, search: Search = "exact") -> Tensor:
    """For eps = 1/epsilons .. 1: blur with sigma = eps * max(H, W) pixels; the first hit is kept.

    The blur is scipy.ndimage.gaussian_filter's: separable, reflected borders (edge pixel
    repeated), truncated at 4 sigma.
    """
    images = problem.images
    height, width = images.shape[2:]

    def blurred(index: Tensor, step: int) -> Tensor:
        sigma = step / epsilons * max(height, width)
        rows = blur_matrix(height, sigma).to(images)
        columns = rows if width == height else blur_matrix(width, sigma).to(images)
        return (rows @ images.index_select(0, index) @ columns.T).clamp_(0, 1)

    first_hit(problem, problem.rows, blurred, epsilons, search)
    return problem.best


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


ATTACK = Attack(
    run,
    deterministic=True,
    typical=180,
    steps="epsilons",
    defaults={"epsilons": 1000, "search": "exact"},
    choices={"search": SEARCHES},
)
