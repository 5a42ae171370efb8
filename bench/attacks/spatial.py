"""Small shifts and rotations (Engstrom et al., 2019; Foolbox 2.x's algorithm and defaults)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bench.attacks.base import Attack
from bench.attacks.problem import Problem
from bench.attacks.transforms import rotation, shift_matrix

Search = Literal["first", "best"]
SEARCHES: tuple[Search, ...] = ("first", "best")
# So many values of rotated images are held at once.
HELD = 1 << 27


def run(
    problem: Problem,
    *,
    points: int = 10,
    max_shift: float = 5.0,
    max_angle: float = 5.0,
    search: Search = "first",
) -> Tensor:
    """A grid of `points` values each of vertical shift (slowest), horizontal shift, and angle
    (fastest), from -max to max, in pixels and degrees.

    Args:
        problem: asked, and where hits are kept.
        points: values of each of the three.
        max_shift: in pixels.
        max_angle: in degrees.
        search: ``first`` keeps the first hit in grid order, as the original, which is not the
            smallest; ``best`` the closest of the whole grid by the protocol.
    """
    angles = np.linspace(-max_angle, max_angle, points).tolist()
    return scan(problem, np.linspace(-max_shift, max_shift, points).tolist(), angles, search)


def scan(
    problem: Problem, shifts: Sequence[float], angles: Sequence[float], search: Search
) -> Tensor:
    """Rotate (bilinear, onto a larger canvas), shift (cubic spline), cut out the middle, clip."""
    rows = problem.rows
    if len(rows):
        for part in rows.split(max(1, HELD // (len(angles) * problem.images[0].numel()))):
            _scan(problem, part, shifts, angles, search)
    return problem.best


def _scan(
    problem: Problem,
    index: Tensor,
    shifts: Sequence[float],
    angles: Sequence[float],
    search: Search,
) -> None:
    width = problem.images.shape[3]
    for down in shifts:
        if len(index) == 0:
            return
        # What is rotated and shifted down is shared by all shifts to the right.
        shared = [_down(problem.images[index], angle, down) for angle in angles]
        position = torch.arange(len(index), device=index.device)
        points = list(product(shifts, shared))
        while points and len(index):
            count = problem.ahead(len(index)) if search == "first" else 1
            now, points = points[:count], points[count:]
            candidates = [_right(image, position, width, right) for right, image in now]
            if search == "best":
                _improve(problem, candidates[0], index)
                continue
            missed = problem.first(torch.cat(candidates), index) == len(now)
            if not missed.all():
                index, position = index[missed], position[missed]


def _down(images: Tensor, angle: float, shift: float) -> Tensor:
    """N x C x H x W to N x C x H x (width of the canvas)."""
    canvas = rotation(*images.shape[2:], angle)(images)
    return shift_matrix(images.shape[2], canvas.shape[2], shift).to(images) @ canvas


def _right(images: Tensor, position: Tensor, width: int, shift: float) -> Tensor:
    chosen = images if len(position) == len(images) else images.index_select(0, position)
    across = shift_matrix(width, images.shape[3], shift).to(images)
    return (chosen @ across.T).clamp_(0, 1)


def _improve(problem: Problem, candidates: Tensor, index: Tensor) -> None:
    """Ask only where a hit would be kept."""
    asked = problem.could_improve(candidates, index).nonzero()[:, 0]
    problem.offer(candidates[asked], index[asked])


ATTACK = Attack(
    run,
    deterministic=True,
    typical=350,
    defaults={"points": 10, "max_shift": 5.0, "max_angle": 5.0, "search": "first"},
    choices={"search": SEARCHES},
)
