"""Additive Gaussian noise of growing strength (Foolbox 2.x's algorithm and defaults)."""

from __future__ import annotations

import math

from torch import Tensor

from bench.attacks.additive import grow
from bench.attacks.base import Attack
from bench.attacks.problem import Problem


def run(problem: Problem, *, epsilons: int = 1000) -> Tensor:
    """For eps = 1/epsilons .. 1: clip(x + eps * N(0, eps / sqrt 3)); the first hit is kept."""
    shape = tuple(problem.images.shape[1:])

    def noise(rows: Tensor, steps: Tensor) -> Tensor:
        return problem.source.normal(rows, steps, shape).mul_(1 / math.sqrt(3.0))

    return grow(problem, noise, epsilons)


ATTACK = Attack(
    run, deterministic=False, version=2, typical=550, steps="epsilons", defaults={"epsilons": 1000}
)
