"""One step up the gradient (Goodfellow et al., 2015, "Explaining and Harnessing Adversarial
Examples": the fast gradient sign method; in the L2 ball, along the gradient)."""

from __future__ import annotations

from torch import Tensor

from bench.attacks import pgd
from bench.attacks.base import Attack
from bench.attacks.capabilities import BUILT_IN
from bench.attacks.library_options import Option, parser
from bench.attacks.norm_balls import BALLS
from bench.attacks.problem import Problem


def run(problem: Problem, *, epsilon: float, norm: str = "Linf") -> Tensor:
    """From the image to the border of the ball of radius `epsilon`, and into [0, 1]."""
    return pgd.run(
        problem,
        epsilon=epsilon,
        norm=norm,
        steps=1,
        rel_stepsize=1.0,
        random_start=False,
    )


_parse = parser({"norm": Option("Linf", "word", choices=tuple(BALLS))}, BUILT_IN["fgsm"])

ATTACK = Attack(
    run,
    deterministic=True,
    version=2,
    typical=BUILT_IN["fgsm"].evaluations,
    defaults=_parse({}),
    norm="Linf",
    access="gradient",
    strength="epsilon",
    parse=_parse,
)
