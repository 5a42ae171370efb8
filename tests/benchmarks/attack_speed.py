"""Both sides of the speed comparison: native attacks, and Foolbox 3 with the same steps.

Where Foolbox 3 has no such attack, the other side is `linear_search`: the algorithm written down
directly in the way of Foolbox 3's own searches, the whole batch at every step until the last image
is found.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bench.attacks import base
from bench.attacks.problem import Problem
from bench.attacks.source import KeyedSource


class Counted(nn.Module):
    """A network that counts the images it predicts."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.count = 0

    def forward(self, images: Tensor) -> Tensor:
        self.count += len(images)
        logits: Tensor = self.network(images)
        return logits


@dataclass(frozen=True)
class Side:
    """What one side of the comparison came to: predictions an image, CPU seconds in all, the
    median L2 (inf where nothing was found), and the share of images that were found."""

    evaluations: float
    seconds: float
    median_l2: float
    found: float


Run = Callable[[nn.Module, Tensor, Tensor], Tensor]
# Of the table that is printed in the end.
ROWS: list[tuple[str, ...]] = []


def measured(run: Run, network: nn.Module, clean: Tensor, labels: Tensor) -> Side:
    """Run once on one thread's CPU time. Images that are not moved count as not found."""
    counted = Counted(network).eval()
    start = time.process_time()
    with torch.no_grad():
        found = run(counted, clean, labels)
    seconds = time.process_time() - start
    l2 = (found - clean).flatten(1).double().norm(dim=1).numpy()
    with torch.no_grad():
        fools = (network(found).argmax(1) != labels).numpy()
    l2 = np.where(fools, l2, np.inf)
    return Side(
        counted.count / len(clean), seconds, float(np.median(l2)), float(np.isfinite(l2).mean())
    )


def native(name: str) -> Run:
    """The native attack with its defaults."""

    def run(network: nn.Module, clean: Tensor, labels: Tensor) -> Tensor:
        attack = base.load(name)
        source = KeyedSource(0, name, 0, range(len(clean)))
        return attack.run(Problem(clean, labels, network, source), **attack.options({}))

    return run


def foolbox3(make: Callable[[object], object]) -> Run:
    """An attack of Foolbox 3, as its library runs it."""

    def run(network: nn.Module, clean: Tensor, labels: Tensor) -> Tensor:
        import foolbox

        torch.manual_seed(0)
        np.random.seed(0)  # Foolbox draws from there
        model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
        found: Tensor = make(foolbox.attacks).run(  # type: ignore[attr-defined]
            model, clean, foolbox.criteria.Misclassification(labels)
        )
        return found

    return run


Candidates = Callable[[Tensor, int], Tensor]


def linear_search(candidates: Candidates, steps: int) -> Run:
    """The whole batch at every step, until the last image is found."""

    def run(network: nn.Module, clean: Tensor, labels: Tensor) -> Tensor:
        torch.manual_seed(0)
        result, found = clean, network(clean).argmax(1) != labels
        for step in range(steps):
            tried = candidates(clean, step)
            wrong = (network(tried).argmax(1) != labels) & ~found
            result = torch.where(wrong[:, None, None, None], tried, result)
            found = found | wrong
            if found.all():
                break
        return result

    return run


def uniform(clean: Tensor, step: int) -> Tensor:
    eps = (step + 1) / 1000
    return (clean + eps * eps * (2 * torch.rand_like(clean) - 1)).clamp(0, 1)


def gaussian(clean: Tensor, step: int) -> Tensor:
    eps = (step + 1) / 1000
    return (clean + eps * eps / math.sqrt(3) * torch.randn_like(clean)).clamp(0, 1)


def single_pixel() -> Run:
    """Each image's own random order; both values of a pixel one after the other."""

    def run(network: nn.Module, clean: Tensor, labels: Tensor) -> Tensor:
        size = clean[0, 0].numel()
        orders = torch.rand(len(clean), size).argsort(1)

        def pixel(images: Tensor, step: int) -> Tensor:
            tried = images.clone()
            places = orders[:, step // 2]
            tried.flatten(2)[torch.arange(len(images)), :, places] = float(step % 2)
            return tried

        return linear_search(pixel, 2 * min(size, 1000))(network, clean, labels)

    return run


FOOLBOX3: dict[str, Run] = {
    "contrast_reduction": foolbox3(
        lambda fa: fa.LinearSearchContrastReductionAttack(distance=_l2(), steps=1000)
    ),
    "gaussian_blur": foolbox3(lambda fa: fa.GaussianBlurAttack(distance=_l2(), steps=1000)),
    "spatial": foolbox3(
        lambda fa: fa.SpatialAttack(
            max_translation=5, max_rotation=5, num_translations=10, num_rotations=10
        )
    ),
    "shifts": foolbox3(
        lambda fa: fa.SpatialAttack(
            max_translation=5, max_rotation=0, num_translations=10, num_rotations=1
        )
    ),
    "blended_uniform": foolbox3(
        lambda fa: fa.LinearSearchBlendedUniformNoiseAttack(
            distance=_l2(), directions=1000, steps=1000
        )
    ),
    "salt_and_pepper": foolbox3(lambda fa: fa.SaltAndPepperNoiseAttack(steps=1000)),
    "pointwise": foolbox3(lambda fa: fa.PointwiseAttack()),
}
DIRECT: dict[str, Run] = {
    "additive_uniform": linear_search(uniform, 1000),
    "additive_gaussian": linear_search(gaussian, 1000),
    "single_pixel": single_pixel(),
}


def _l2() -> object:
    import foolbox

    return foolbox.distances.l2
