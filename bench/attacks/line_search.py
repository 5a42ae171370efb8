"""The first step of a path from the image outwards that fools the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from bench.attacks.problem import Problem

Search = Literal["exact", "fast"]
SEARCHES: tuple[Search, ...] = ("exact", "fast")
# Steps between the points of the coarse scan. A hit that is over within fewer steps can be missed.
STRIDE = 8

Path = Callable[[Tensor, int], Tensor]


def first_hit(problem: Problem, index: Tensor, path: Path, steps: int, search: Search) -> None:
    """Walk along a path and keep its first hit; images found leave the batch.

    ``exact`` asks at every step. ``fast`` asks at every eighth and halves the stretch before a
    hit, as if an image once lost stayed lost; that is approximate.

    Args:
        problem: asked, and where hits are kept.
        index: int64 n, rows to walk with.
        path: `path(rows, step)` gives the candidates (n x C x H x W in [0, 1]) of a step.
        steps: number of the last step; the first is 1.
        search: how to look for the first hit.
    """
    stride = STRIDE if search == "fast" else 1
    points = [0, *range(stride, steps, stride), steps]
    done = 1
    while len(index) and done < len(points):
        now = points[done : done + problem.ahead(len(index))]
        number = problem.first(torch.cat([path(index, step) for step in now]), index)
        if search == "fast":
            for k, step in enumerate(now):
                _halve(problem, index[number == k], path, points[done + k - 1], step)
        index = index[number == len(now)]
        done += len(now)


def _halve(problem: Problem, index: Tensor, path: Path, miss: int, hit: int) -> None:
    """Look between a step that missed and a later one that hit."""
    if len(index) == 0 or hit - miss <= 1:
        return
    middle = (miss + hit) // 2
    earlier = problem.offer(path(index, middle), index)
    _halve(problem, index[earlier], path, miss, middle)
    _halve(problem, index[~earlier], path, middle, hit)
