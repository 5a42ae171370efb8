"""What adapters of attack libraries share: a network that stays as it is, counting, and options.

Libraries see images in [0, 1], int64 labels, only images that are classified correctly, and a
network in eval mode, without preprocessing, whose parameters take no gradient.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bench.attacks.capabilities import Capability
from bench.attacks.isolation import prepared, untouched
from bench.attacks.problem import Problem
from bench.errors import BenchError
from bench.models.predict import classes

# By so much images may be outside [0, 1] through rounding.
ROUNDING = 1e-4
# `source.uniform` gives 24 bits.
SEED_BITS = 24


class Target:
    """What a library attacks: a batch that is classified correctly.

    Attributes:
        model: the network in eval mode.
        images: float32 n x C x H x W in [0, 1], contiguous, detached.
        labels: int64 n.
        logits: n x classes of the clean images.
        seed: for generators of the library's own; torch's, numpy's and Python's are seeded.
    """

    def __init__(
        self, model: nn.Module, images: Tensor, labels: Tensor, logits: Tensor, seed: int
    ) -> None:
        self.model, self.images, self.labels = model, images, labels
        self.logits, self.seed = logits, seed

    @property
    def classes(self) -> int:
        """How many classes the network tells apart."""
        return self.logits.shape[1]

    @torch.no_grad()
    def fooled(self, images: Tensor) -> Tensor:
        """bool n: which of the images, in the order of the target's, are misclassified."""
        wrong: Tensor = classes(self.model(images)) != self.labels
        return wrong


Perturb = Callable[[Target], Tensor]


def attack(problem: Problem, perturb: Perturb, what: Capability, *, one_by_one: bool) -> Tensor:
    """Run a library's attack on a problem.

    Args:
        problem: needs `model`.
        perturb: gives an image for each of the target's; the clean one where nothing was found.
        what: the attack, for its name and the channels it takes.
        one_by_one: every image alone, with a seed of its own: slower, but results do not depend
            on which images are in a batch.

    Returns:
        N x C x H x W in [0, 1], detached. Images that are misclassified already, and rows that
        are not finite, are returned clean. Predictions are counted by a hook on the network and
        spread over the images that were in the batch.

    Raises:
        BenchError: no model, images outside [0, 1], or of a number of channels that the class
            does not take.
    """
    if problem.model is None:
        raise BenchError(f"attack '{what.name}' needs the network as a module")
    if len(problem.images) == 0:
        return problem.images.clone()
    images = _in_range(problem.images)
    if what.channels and images.shape[1] not in what.channels:
        wanted = " or ".join(map(str, what.channels))
        raise BenchError(
            f"attack '{what.name}' takes images of {wanted} channels, not {images.shape[1]}"
        )
    found = images.clone()
    device, model = images.device, problem.model
    with prepared(model), _counted(model) as rows, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for group in problem.rows.split(1 if one_by_one else len(images)):
            with torch.no_grad():
                logits = model(images[group])
            right = classes(logits) == problem.labels[group]
            active = group[right]
            rows[0] = 0
            if len(active):
                seed = _seed(problem, active) if one_by_one else problem.seed
                target = Target(
                    model,
                    images[active],
                    problem.labels[active].long(),
                    logits[right].detach(),
                    seed,
                )
                with untouched(None, seed, device):
                    result = perturb(target).detach().to(images).clamp(0, 1)
                finite = result.isfinite().flatten(1).all(1)
                found[active[finite]] = result[finite]
            problem.evaluations[group.cpu().numpy()] += 1
            problem.evaluations[active.cpu().numpy()] += rows[0] / max(1, len(active))
    return found


def _seed(problem: Problem, index: Tensor) -> int:
    """A seed that follows seed, attack, repeat and sample, and nothing else."""
    first, second = problem.source.uniform(index, 0, (2,))[0].double().tolist()
    return (int(first * 2**SEED_BITS) << SEED_BITS | int(second * 2**SEED_BITS)) % 2**31


def _in_range(images: Tensor) -> Tensor:
    low, high = float(images.min()), float(images.max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise BenchError(f"images must be in [0, 1], not in [{low:g}, {high:g}]")
    return images.detach().clamp(0, 1).contiguous()


@contextlib.contextmanager
def _counted(model: nn.Module) -> Iterator[list[int]]:
    """Count images that go through the network, whoever asks."""
    count = [0]

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        (images,) = args or kwargs.values()
        count[0] += len(images)

    handle = model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield count
    finally:
        handle.remove()
