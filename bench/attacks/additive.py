"""Additive noise of growing strength, drawn afresh for every step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.attacks.problem import Problem

Noise = Callable[[Tensor, Tensor], Tensor]


def grow(problem: Problem, noise: Noise, epsilons: int) -> Tensor:
    """For eps = 1/epsilons .. 1: clip(x + eps^2 * noise); the first hit is kept.

    eps enters twice, as in the original: noise of strength eps is multiplied by eps. Images found
    leave the batch. There is no approximate search: with fresh noise a hit says nothing about the
    steps before it.

    Args:
        problem: asked, and where hits are kept.
        noise: `noise(rows, steps)` draws n x C x H x W of strength 1; overwritten.
        epsilons: number of steps.
    """
    index, done = problem.rows, 0
    while len(index) and done < epsilons:
        count = min(problem.ahead(len(index)), epsilons - done)
        steps = torch.arange(done + 1, done + count + 1, device=index.device)
        steps, rows = steps.repeat_interleave(len(index)), index.repeat(count)
        strength = (steps.double() / epsilons).square_().to(problem.images)
        candidates = noise(rows, steps).mul_(strength[:, None, None, None])
        candidates.add_(problem.images.index_select(0, rows)).clamp_(0, 1)
        index = index[problem.first(candidates, index) == count]
        done += count
    return problem.best
