"""Growing noise, Gaussian and uniform, against the definition, one image and step at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from attack_parts import Logits, images, never, problem, roughness
from torch import Tensor

from bench.attacks import additive_gaussian, additive_uniform
from bench.attacks.problem import Problem
from bench.attacks.source import KeyedSource

ATTACKS = {"additive_gaussian": additive_gaussian.run, "additive_uniform": additive_uniform.run}


def noise(name: str, source: KeyedSource, row: int, step: int, shape: Any) -> np.ndarray:
    """Of strength 1: standard deviation 1 / sqrt 3, or between -1 and 1."""
    index = torch.tensor([row])
    if name == "additive_gaussian":
        return source.normal(index, step, shape)[0].double().numpy() / math.sqrt(3)
    return 2 * source.uniform(index, step, shape)[0].double().numpy() - 1


def one_by_one(
    name: str, clean: Tensor, logits: Logits, epsilons: int, seed: int
) -> tuple[list[np.ndarray], list[int]]:
    """Fresh noise of strength eps times eps for every step; the first hit counts."""
    found, spent = [], []
    source = KeyedSource(seed, name, 0, range(len(clean)))
    for row, image in enumerate(clean):
        label = int(logits(image[None]).argmax())
        best, tries = image.numpy(), epsilons
        for step in range(1, epsilons + 1):
            eps = step / epsilons
            drawn = eps * noise(name, source, row, step, image.shape)
            candidate = np.clip(image.numpy() + eps * drawn, 0, 1).astype(np.float32)
            if int(logits(torch.from_numpy(candidate)[None]).argmax()) != label:
                best, tries = candidate, step
                break
        found.append(best)
        spent.append(tries)
    return found, spent


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 9)])
@pytest.mark.parametrize("seed", [0, 7])
def test_results_are_those_of_one_image_at_a_time(
    name: str, shape: tuple[int, int, int], seed: int
) -> None:
    clean = 0.5 + (images(12, *shape) - 0.5) * torch.linspace(0.0, 0.6, 12)[:, None, None, None]
    logits = roughness(0.25)
    task = problem(clean, logits, seed=seed, name=name)
    found = ATTACKS[name](task, epsilons=40)
    expected, spent = one_by_one(name, clean, logits, 40, seed)
    np.testing.assert_allclose(found.numpy(), np.stack(expected), atol=1e-6)
    assert task.evaluations.tolist() == spent
    assert len(set(spent)) > 3


@pytest.mark.parametrize("name", ATTACKS)
def test_noise_has_the_stated_strength(name: str) -> None:
    """eps enters twice: at the last of n steps it is of strength 1, half-way of a quarter."""
    clean = torch.full((1, 1, 80, 80), 0.5)
    seen: list[Tensor] = []

    def watching(batch: Tensor) -> Tensor:
        seen.append(batch[0] - 0.5)
        return never(batch)

    task = Problem(clean, torch.zeros(1).long(), watching, KeyedSource(0, name, 0, [0]))
    ATTACKS[name](task, epsilons=10)
    assert len(seen) == 10
    for step in (1, 2, 3, 4):
        size = (step / 10) ** 2
        expected = (
            scipy.stats.norm(0, size / math.sqrt(3))
            if name == "additive_gaussian"
            else scipy.stats.uniform(-size, 2 * size)
        )
        drawn = seen[step - 1].double().numpy().ravel()
        assert scipy.stats.kstest(drawn, expected.cdf).pvalue > 0.01
    # At full strength noise is cut at the bounds.
    outside = 2 * scipy.stats.norm(0, 1 / math.sqrt(3)).sf(0.5)
    outside = outside if name == "additive_gaussian" else 0.5
    assert float((seen[9].abs() == 0.5).float().mean()) == pytest.approx(outside, abs=0.02)
