"""Networks whose answers are known, attacks that do as they are told, and contexts of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.attacks.base import Attack
from bench.attacks.problem import Problem
from bench.data.dataset import Dataset, Split
from bench.measures import base, robustness
from bench.measures.base import Context, Found
from bench.models.network import Network, wrap
from bench.suite.recipe import Recipe

CPU = torch.device("cpu")
CLASSES = ("dark", "bright", "nothing")


def first_pixels(test: list[int], labels: list[int] | None, side: int = 4) -> Dataset:
    """Test images that are black but for their first pixel."""
    images = torch.zeros(len(test), 1, side, side, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.tensor(test, dtype=torch.uint8)
    known = None if labels is None else torch.tensor(labels)
    train = Split(torch.zeros(2, 1, side, side, dtype=torch.uint8), torch.tensor([0, 1]))
    return Dataset("pixels", train, Split(images, known), CLASSES, (0.0,), (1.0,))


class Bright(nn.Module):
    """Class 1 where the first pixel is above a half, else class 0."""

    def forward(self, images: Tensor) -> Tensor:
        value = images[:, 0, 0, 0].double()
        return torch.stack([torch.full_like(value, 0.5), value, torch.zeros_like(value)], 1)


class Moody(Bright):
    """Answers the opposite in batches of the given sizes."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits[:, [1, 0, 2]] if len(images) in self.sizes else logits


class Overflowing(Bright):
    """NaN where the first pixel is 0 or 1."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        broken = (logits[:, 1] == 0) | (logits[:, 1] == 1)
        return logits.masked_fill(broken[:, None], torch.nan)


def context(
    dataset: Dataset, backbone: nn.Module, options: Any = None, seed: int = 0, **more: Any
) -> Context:
    network: Network = wrap(backbone, dataset, Recipe())
    return Context(network.eval(), dataset, CPU, seed, None, options, **more)


def tasks(attack: Any, **options: Any) -> list[base.Item]:
    """The cells of the measure in a suite that names these attacks."""
    several = attack if isinstance(attack, list) else [attack]
    given = {"attacks": several, "samples": 0, **options}
    return robustness.items(robustness.Options.model_validate(given))


def attacked(
    dataset: Dataset, backbone: nn.Module, attack: Any, seed: int = 0, **options: Any
) -> Found:
    (item,) = tasks(attack, **options)
    return robustness.run(context(dataset, backbone, item.options, seed))


def moved(problem: Problem, first: Any) -> Tensor:
    """The images with another first pixel, where that fools; each is asked about once."""
    changed = problem.images.clone()
    changed[:, 0, 0, 0] = torch.as_tensor(np.asarray(first), dtype=changed.dtype)
    hit = problem.fooled(changed, torch.arange(len(changed)))
    return torch.where(hit[:, None, None, None], changed, problem.images)


def to_white(problem: Problem) -> Tensor:
    """First pixel to 1: fools those that are dark."""
    return moved(problem, 1.0)


def to_black(problem: Problem) -> Tensor:
    """First pixel to 0: fools those that are bright."""
    return moved(problem, 0.0)


def to_random(problem: Problem) -> Tensor:
    """First pixel to a random value: fools those whose source says so."""
    return moved(problem, problem.source.uniform(problem.rows, 0, ()))


def returns_the_images(problem: Problem) -> Tensor:
    """Finds nothing."""
    return problem.images


def claims(problem: Problem) -> Tensor:
    """Changes images a little and takes that for enough."""
    return problem.images + 0.01


def oversteps(problem: Problem) -> Tensor:
    """First pixel to 3, far outside the bounds."""
    return moved(problem, 3.0)


def breaks(problem: Problem) -> Tensor:
    """NaN, as of a division by zero."""
    return problem.images * float("nan")


def offers_nan(problem: Problem) -> Tensor:
    """The same, offered."""
    problem.offer(breaks(problem), problem.rows)
    return problem.best


def offers_nan_and_white(problem: Problem) -> Tensor:
    """NaN first, which fools nobody for good."""
    problem.offer(breaks(problem), problem.rows)
    problem.offer(to_white(problem), problem.rows)
    return problem.best


def writes_into_images(problem: Problem) -> Tensor:
    """First pixel to white, in the clean images themselves."""
    problem.images[:, 0, 0, 0] = 1.0
    problem.offer(problem.images, problem.rows)
    return problem.best


def writes_into_labels(problem: Problem) -> Tensor:
    """Calls everything nothing, so that all that it tries fools."""
    problem.labels.fill_(2)
    return to_white(problem)


def forgets_to_return(problem: Problem) -> None:
    """Offers, and returns nothing."""
    problem.offer(problem.images * 0.5, problem.rows)


def returns_levels(problem: Problem) -> Tensor:
    """White, in levels of 255: not cut to [0, 1], where every level but 0 would be white."""
    return (to_white(problem) * 255).to(torch.uint8)


def returns_numpy(problem: Problem) -> Any:
    """The images, but not as a tensor."""
    return problem.images.numpy()


def drops_one(problem: Problem) -> Tensor:
    """An image too few."""
    return problem.images[1:]


def _needs_gradients(problem: Problem) -> Tensor:
    """Fails if gradients are recorded during the attack."""
    assert not torch.is_grad_enabled()
    return problem.images


no_gradients = Attack(_needs_gradients, deterministic=True)
steady = Attack(to_random, deterministic=True)


def _brighter(problem: Problem, *, step: float) -> Tensor:
    """The first pixel brighter by a step: fools dark images, if the step is large enough."""
    return moved(problem, (problem.images[:, 0, 0, 0] + step).clamp(max=1))


brighter = Attack(_brighter, deterministic=True, defaults={"epsilons": (0.5,)}, strength="step")


def _unbound(problem: Problem, *, step: float) -> Tensor:
    """The first pixel to white, however small the step that was asked for."""
    return to_white(problem)


unbound = Attack(
    _unbound, deterministic=True, defaults={"epsilons": (0.5,)}, norm="Linf", strength="step"
)


def _hasty(problem: Problem, *, search: str = "exact") -> Tensor:
    """Just above a half, or, in haste and for every other row, far above it."""
    steps = torch.full((len(problem.images),), 0.51)
    if search == "fast":
        steps[::2] = 0.9
    return moved(problem, steps)


hasty = Attack(
    _hasty,
    deterministic=True,
    defaults={"search": "exact"},
    choices={"search": ("exact", "fast")},
)
colour = Attack(to_white, deterministic=True, channels=(3,))
