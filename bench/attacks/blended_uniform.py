"""Blending into an image of uniform noise (Foolbox 2.x's algorithm and defaults)."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.attacks.base import Attack
from bench.attacks.line_search import SEARCHES, Search, first_hit
from bench.attacks.problem import Problem


def run(
    problem: Problem, *, epsilons: int = 1000, directions: int = 1000, search: Search = "exact"
) -> Tensor:
    """Draw images of uniform noise until one fools the network (`directions` at most), then for
    eps = 1/epsilons .. 1: (1 - eps) * x + eps * noise; the first hit is kept.

    An image for which no noise fools the network is blended with the last one drawn.
    """
    noise = _directions(problem, directions)

    def blended(index: Tensor, step: int) -> Tensor:
        eps = step / epsilons
        candidates = problem.images.index_select(0, index).mul_(1 - eps)
        return candidates.add_(noise.index_select(0, index), alpha=eps).clamp_(0, 1)

    first_hit(problem, problem.rows, blended, epsilons, search)
    return problem.best


def _directions(problem: Problem, draws: int) -> Tensor:
    """N x C x H x W: for every image the first noise that fools the network."""
    shape = tuple(problem.images.shape[1:])
    last = problem.images.clone()
    index, done = problem.rows, 0
    while len(index) and done < draws:
        count = min(problem.ahead(len(index)), draws - done)
        steps = torch.arange(done + 1, done + count + 1, device=index.device)
        steps, rows = steps.repeat_interleave(len(index)), index.repeat(count)
        drawn = problem.source.uniform(rows, steps, shape)
        last[index] = drawn[-len(index) :]
        index = index[problem.first(drawn, index) == count]
        done += count
    return torch.where(problem.distance.isfinite()[:, None, None, None], problem.best, last)


ATTACK = Attack(
    run,
    deterministic=False,
    typical=800,
    steps="epsilons",
    defaults={"epsilons": 1000, "directions": 1000, "search": "exact"},
    choices={"search": SEARCHES},
)
