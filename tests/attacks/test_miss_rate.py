"""The share of images for which the approximate search misses what the exact one finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.attacks.base import Attack
from bench.attacks.evaluate import Trial
from bench.attacks.line_search import first_hit
from bench.attacks.problem import Problem
from bench.data.dataset import Dataset, Split
from bench.measures import attack_batches
from bench.measures.base import Context
from bench.models.network import wrap
from bench.suite.recipe import Recipe

COUNT = 40


class Bands(nn.Module):
    """Wrong from value 0.75 on; for images whose second pixel is bright also from 0.25 to 0.3."""

    def forward(self, images: Tensor) -> Tensor:
        value, second = images[:, 0, 0, 0], images[:, 0, 0, 1]
        wrong = (value >= 0.75) | ((second > 0.5) & (value >= 0.25) & (value < 0.3))
        return torch.stack([~wrong, wrong], 1).float()


def brighter(problem: Problem, *, search: Any = "exact") -> Tensor:
    """Raises the first pixel from 0 to 1 in 100 steps."""

    def path(index: Tensor, step: int) -> Tensor:
        candidates = problem.images[index]
        candidates[:, 0, 0, 0] = step / 100
        return candidates

    first_hit(problem, problem.rows, path, 100, search)
    return problem.best


BRIGHTER = Attack(
    brighter,
    deterministic=True,
    defaults={"search": "exact"},
    choices={"search": ("exact", "fast")},
)


@pytest.mark.parametrize(("share", "expected"), [(0, 0.0), (4, 25.0), (1, 100.0)])
def test_it_is_the_share_of_images_with_a_closer_hit(share: int, expected: float) -> None:
    images = torch.zeros(COUNT, 1, 2, 2, dtype=torch.uint8)
    if share:
        images[::share, 0, 0, 1] = 255
    labels = torch.zeros(COUNT, dtype=torch.int64)
    split = Split(images, labels)
    dataset = Dataset("bands", split, split, ("right", "wrong"), (0.0,), (1.0,))
    network = wrap(Bands(), dataset, Recipe()).eval()
    context = Context(network, dataset, torch.device("cpu"), 0, None, None)
    trial = Trial("brighter", BRIGHTER, {"search": "fast"}, 0, 1, "min-l2")
    samples = np.arange(COUNT)
    done = attack_batches.attack_all(context, trial, images, labels, samples, 16)
    np.testing.assert_allclose(done["l2"], 0.75, atol=0.011)
    found = attack_batches.miss_rate(context, trial, images, labels, samples, done["l2"])
    assert found == pytest.approx(expected, abs=5.0 if 0 < expected < 100 else 0.0)
    exact = Trial("brighter", BRIGHTER, {"search": "exact"}, 0, 1, "min-l2")
    done = attack_batches.attack_all(context, exact, images, labels, samples, 16)
    assert (done["l2"] < 0.3).mean() == expected / 100
    assert attack_batches.miss_rate(context, trial, images, labels, samples, done["l2"]) == 0
