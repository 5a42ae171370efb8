"""Additive Gaussian noise against the definition, one image and one step at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from attack_parts import Logits, images, never, problem, roughness
from torch import Tensor

from bench.attacks.additive_gaussian import run
from bench.attacks.base import Problem, stream


def one_by_one(
    clean: Tensor, logits: Logits, epsilons: int, seed: int
) -> tuple[list[np.ndarray], list[int]]:
    """Fresh noise for every step, of standard deviation eps^2 / sqrt 3; the first hit counts."""
    found, spent = [], []
    for sample, image in enumerate(clean):
        source = stream(seed, "additive_gaussian", 0, sample)
        label = int(logits(image[None]).argmax())
        best, tries = image.numpy(), epsilons
        for step in range(1, epsilons + 1):
            eps = step / epsilons
            noise = source.standard_normal(image.shape, dtype=np.float32)
            candidate = np.clip(image.numpy() + eps * (eps / math.sqrt(3)) * noise, 0, 1)
            if int(logits(torch.from_numpy(candidate)[None]).argmax()) != label:
                best, tries = candidate, step
                break
        found.append(best)
        spent.append(tries)
    return found, spent


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 9)])
@pytest.mark.parametrize("seed", [0, 7])
def test_results_are_those_of_one_image_at_a_time(shape: tuple[int, int, int], seed: int) -> None:
    clean = 0.5 + (images(12, *shape) - 0.5) * torch.linspace(0.0, 0.6, 12)[:, None, None, None]
    logits = roughness(0.25)
    task = problem(clean, logits, seed=seed)
    found = run(task, epsilons=60)
    expected, spent = one_by_one(clean, logits, 60, seed)
    np.testing.assert_allclose(found.numpy(), np.stack(expected), atol=1e-6)
    assert task.evaluations.tolist() == spent
    assert len(set(spent)) > 3
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


def test_a_result_depends_on_the_sample_and_not_on_the_batch() -> None:
    clean, logits = 0.3 + 0.4 * images(20, 2), roughness(0.2)
    whole = problem(clean, logits)
    expected = run(whole, epsilons=50)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    for part in (order, order[:7], torch.tensor([5]), torch.arange(19, -1, -1)):
        task = problem(clean[part], logits, samples=part.tolist())
        assert torch.equal(run(task, epsilons=50), expected[part])
        assert task.evaluations.tolist() == whole.evaluations[part.numpy()].tolist()


def test_a_hit_is_the_first_and_fools() -> None:
    clean, logits = 0.3 + 0.4 * images(30), roughness(0.2)
    task = problem(clean, logits)
    found = run(task, epsilons=50)
    moved = (found != clean).flatten(1).any(1)
    assert moved.any()
    assert torch.equal(logits(found).argmax(1) != task.labels, moved)
    stopped = task.evaluations < 50
    assert np.array_equal(stopped, moved.numpy() & stopped)


def test_noise_has_the_stated_strength() -> None:
    """eps enters twice: at the last of n steps 1 / sqrt 3, half-way a quarter of it."""
    clean = torch.full((1, 1, 80, 80), 0.5)
    seen: list[Tensor] = []

    def watching(batch: Tensor) -> Tensor:
        seen.append(batch[0] - 0.5)
        return never(batch)

    run(Problem(clean, torch.zeros(1).long(), watching, [stream(0, "x", 0, 0)]), epsilons=10)
    assert len(seen) == 10
    for step in (1, 2, 3, 4):
        deviation = (step / 10) ** 2 / math.sqrt(3)
        normal = scipy.stats.norm(0, deviation)
        assert scipy.stats.kstest(seen[step - 1].numpy().ravel(), normal.cdf).pvalue > 0.01
    # At full strength noise is cut at the bounds.
    outside = 2 * scipy.stats.norm(0, 1 / math.sqrt(3)).sf(0.5)
    assert float((seen[9].abs() == 0.5).float().mean()) == pytest.approx(outside, abs=0.02)


def test_the_images_themselves_come_back_where_nothing_fools() -> None:
    clean = images(5)
    task = problem(clean, never)
    found = run(task, epsilons=9)
    assert torch.equal(found, clean)
    assert found.data_ptr() != clean.data_ptr()
    assert task.evaluations.tolist() == [9] * 5


def test_another_seed_draws_other_noise() -> None:
    clean, logits = 0.3 + 0.4 * images(6), roughness(0.2)
    first, second = (run(problem(clean, logits, seed=seed), epsilons=50) for seed in (0, 1))
    assert not torch.equal(first, second)


def test_nothing_global_is_drawn_from() -> None:
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    run(problem(images(3), never), epsilons=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpys)  # type: ignore[index]


def test_no_images_are_no_problem() -> None:
    assert run(problem(images(0), never), epsilons=3).shape == (0, 1, 8, 8)
