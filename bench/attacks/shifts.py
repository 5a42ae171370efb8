"""Small shifts (Foolbox 2.x's spatial attack without rotations, and its defaults)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from bench.attacks.base import Attack
from bench.attacks.problem import Problem
from bench.attacks.spatial import SEARCHES, Search, scan


def run(
    problem: Problem, *, points: int = 10, max_shift: float = 5.0, search: Search = "first"
) -> Tensor:
    """A grid of `points` x `points` shifts by up to `max_shift` pixels, down (slowest) and to the
    right; `search` is as for the spatial attack."""
    return scan(problem, np.linspace(-max_shift, max_shift, points).tolist(), [0.0], search)


ATTACK = Attack(
    run,
    deterministic=True,
    typical=60,
    defaults={"points": 10, "max_shift": 5.0, "search": "first"},
    choices={"search": SEARCHES},
)
