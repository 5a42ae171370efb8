"""Additive uniform noise of growing strength (Foolbox 2.x's algorithm and defaults)."""

from __future__ import annotations

from torch import Tensor

from bench.attacks.additive import grow
from bench.attacks.base import Attack
from bench.attacks.problem import Problem


def run(problem: Problem, *, epsilons: int = 1000) -> Tensor:
    """For eps = 1/epsilons .. 1: clip(x + eps * U(-eps, eps)); the first hit is kept."""
    shape = tuple(problem.images.shape[1:])

    def noise(rows: Tensor, steps: Tensor) -> Tensor:
        return problem.source.uniform(rows, steps, shape).mul_(2.0).sub_(1.0)

    return grow(problem, noise, epsilons)


ATTACK = Attack(
    run, deterministic=False, typical=550, steps="epsilons", defaults={"epsilons": 1000}
)
