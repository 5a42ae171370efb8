"""Fading to grey (Foolbox 2.x's algorithm and defaults)."""

from __future__ import annotations

from torch import Tensor

from bench.attacks.base import Attack
from bench.attacks.line_search import SEARCHES, Search, first_hit
from bench.attacks.problem import Problem

GREY = 0.5


def run(problem: Problem, *, epsilons: int = 1000, search: Search = "exact") -> Tensor:
    """For eps = 1/epsilons .. 1: (1 - eps) * x + eps * 0.5; the first hit is kept."""

    def faded(index: Tensor, step: int) -> Tensor:
        eps = step / epsilons
        return problem.images.index_select(0, index).mul_(1 - eps).add_(eps * GREY)

    first_hit(problem, problem.rows, faded, epsilons, search)
    return problem.best


ATTACK = Attack(
    run,
    deterministic=True,
    typical=300,
    steps="epsilons",
    defaults={"epsilons": 1000, "search": "exact"},
    choices={"search": SEARCHES},
)
