"""Salt-and-pepper noise of growing, then of restarted density (Foolbox 2.x's algorithm and
defaults)."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.attacks.base import Attack
from bench.attacks.problem import Problem

# A restart looks a little above the density of the last hit: distance is not monotone in it.
SLACK = 1.2


def run(problem: Problem, *, epsilons: int = 100, repetitions: int = 10) -> Tensor:
    """`repetitions` times, for p = limit / epsilons .. limit: half of a share p of the pixels to 1
    and half to 0, in all channels alike; a hit ends the repetition and sets limit = min(1, 1.2 p).

    Candidates that are no closer than what is kept are not asked, nor those that change nothing.
    Every image goes at its own pace.
    """
    height, width = problem.images.shape[2:]
    steps = min(epsilons, height * width)
    index = problem.rows
    repetition = torch.zeros_like(index)
    step = torch.ones_like(index)
    limit = torch.ones(len(index), dtype=torch.float64, device=index.device)
    while len(index):
        # As numpy.linspace counts, so that the last is the limit itself.
        density = torch.where(step == steps, limit, step * (limit / steps))
        u = problem.source.uniform(index, repetition * steps + step, (1, height, width))
        hit = _ask(problem, _noisy(problem.images.index_select(0, index), u, density), index)
        limit = torch.where(hit, (SLACK * density).clamp(max=1.0), limit)
        over = hit | (step == steps)
        repetition = repetition + over
        step = torch.where(over, 1, step + 1)
        if over.any():
            going = repetition < repetitions
            index, repetition, step, limit = (
                state[going] for state in (index, repetition, step, limit)
            )
    return problem.best


def _noisy(images: Tensor, u: Tensor, density: Tensor) -> Tensor:
    """Salt where u is in the upper half of the density, pepper in the lower."""
    half = (density / 2).to(u)[:, None, None, None]
    return images.masked_fill(u >= 1 - half, 1.0).masked_fill_(u < half, 0.0)


def _ask(problem: Problem, candidates: Tensor, index: Tensor) -> Tensor:
    """bool n: which candidates were worth asking and fool the network."""
    distance = problem.distances(candidates, index)
    hit = (distance < problem.distance[index]) & (distance > 0)
    asked = hit.nonzero()[:, 0]
    hit[asked] = problem.offer(candidates[asked], index[asked])
    return hit


ATTACK = Attack(
    run,
    deterministic=False,
    typical=300,
    defaults={"epsilons": 100, "repetitions": 10},
)
