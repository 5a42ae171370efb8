"""Projected gradient descent (Madry et al., 2018, "Towards Deep Learning Models Resistant to
Adversarial Attacks"), in the L-infinity or the L2 ball."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bench.attacks.base import Attack
from bench.attacks.capabilities import BUILT_IN
from bench.attacks.isolation import prepared
from bench.attacks.library_options import Option, parser
from bench.attacks.norm_balls import BALLS
from bench.attacks.problem import Problem
from bench.models.predict import Logits, classes

# All steps together, in epsilons: more than enough to cross the ball from a random start.
REACH = 2.5
STEPS = 20
# Pixels (of all images, whatever the channels) that a pass on the CPU takes at once, and images at
# least: what lies between two layers then stays in the cache, a third less time at 28 x 28.
PIXELS, LEAST = 2**17, 8
OPTIONS = {
    "norm": Option("Linf", "word", choices=tuple(BALLS)),
    "steps": Option(STEPS, "int"),
    "rel_stepsize": Option(None, "float", optional=True),
    "random_start": Option(True, "bool"),
    "active_set": Option(True, "bool"),
}


def run(
    problem: Problem,
    *,
    epsilon: float,
    norm: str = "Linf",
    steps: int = STEPS,
    rel_stepsize: float = REACH / STEPS,
    random_start: bool = True,
    active_set: bool = True,
) -> Tensor:
    """Climb the cross-entropy (see `_slope`) within `epsilon` of the images and within [0, 1].

    Args:
        problem: asked, and where hits are kept.
        epsilon: radius of the ball.
        norm: "Linf" (steps along the gradient's sign) or "L2" (along the gradient).
        steps: number of steps; what they end at is asked about once more.
        rel_stepsize: length of a step, in epsilons.
        random_start: start from a random point of the ball instead of from the image.
        active_set: an image leaves the batch with the first step that fools the network, and that
            one counts. Otherwise every image takes all steps and the last one counts, as in other
            libraries.
    """
    ball = BALLS[norm](problem.images, epsilon)
    index = problem.rows
    with prepared(problem.model), torch.no_grad():
        now = ball.random(problem.source, index) if random_start else problem.images.clone()
        for number in range(steps if len(index) else 0):
            # One forward pass tells whether the step before fools, and where to go from there.
            gradient, wrong = _ascent(problem, now, index)
            if active_set and (number or random_start):
                problem.note(now, index, wrong)
                left = (~wrong).nonzero()[:, 0]
                if len(left) < len(index):
                    ball.only(left)
                    now, gradient, index = (t.index_select(0, left) for t in (now, gradient, index))
                    if not len(left):
                        break
            else:
                problem.note(now, index)
            now = ball.step(now, gradient, rel_stepsize * epsilon)
        problem.offer(now, index)
    return problem.best


def _ascent(problem: Problem, now: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of each image's own loss, n x C x H x W, and bool n: which are misclassified."""
    labels = problem.labels.index_select(0, index)
    if problem.replays is not None and now.is_cuda:
        return problem.replays(
            lambda images, more: _gradient(problem.logits, images, more["labels"]),
            "ascent",
            now,
            labels=labels,
        )
    size = max(LEAST, PIXELS // math.prod(now.shape[2:]))
    count = 1 if now.is_cuda else -(-len(index) // size)
    parts = [
        _gradient(problem.logits, some, truth)
        for some, truth in zip(now.chunk(count), labels.chunk(count), strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    gradients, wrong = zip(*parts, strict=True)
    return torch.cat(gradients), torch.cat(wrong)


def _gradient(ask: Logits, now: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaf = now.detach().requires_grad_()
        logits = ask(leaf)
    wrong = classes(logits.detach()) != labels
    gradient: Tensor | None = None
    if logits.requires_grad:
        slope = _slope(logits.detach(), labels)
        (gradient,) = torch.autograd.grad(logits, leaf, slope, allow_unused=True)
    return torch.zeros_like(now) if gradient is None else gradient, wrong


def _slope(logits: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy's gradient with respect to the logits, n x classes, over 1 - p of the
    label: -1 there, elsewhere the softmax among the others.

    Steps need its direction alone. The factor 1 - p comes to nothing in float32 where a network is
    confident, and the attack would stand still before a network that is no harder to fool.
    """
    truth = labels[:, None]
    others = logits.scatter(1, truth, -torch.inf).softmax(1)
    return others.scatter_(1, truth, -1.0)


def _parse(given: Mapping[str, Any]) -> dict[str, Any]:
    """As for library attacks; the step follows the number of steps unless it is given."""
    read = parser(OPTIONS, BUILT_IN["pgd"])(given)
    step = read["rel_stepsize"]
    if step is None:
        step = REACH / read["steps"]
    return {**read, "rel_stepsize": step}


ATTACK = Attack(
    run,
    deterministic=False,
    version=2,
    typical=BUILT_IN["pgd"].evaluations,
    defaults=_parse({}),
    norm="Linf",
    access="gradient",
    strength="epsilon",
    random_when={"random_start": True},
    parse=_parse,
)
