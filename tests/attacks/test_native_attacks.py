"""What holds for every native attack, whatever it does to images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from attack_parts import Logits, contrast, images, never, problem, roughness
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.attacks import base

# Few steps, so that tests are quick, and a network that each attack can fool on some images.
OPTIONS: dict[str, dict[str, Any]] = {
    "single_pixel": {"max_pixels": 40},
    "salt_and_pepper": {"epsilons": 12, "repetitions": 3},
    "pointwise": {"epsilons": 12, "repetitions": 2},
    "additive_gaussian": {"epsilons": 30},
    "additive_uniform": {"epsilons": 30},
    "blended_uniform": {"epsilons": 30, "directions": 5},
    "gaussian_blur": {"epsilons": 30},
    "contrast_reduction": {"epsilons": 30},
    "spatial": {"points": 3, "max_shift": 2.0},
    "shifts": {"points": 5, "max_shift": 2.0},
    "pgd": {"epsilons": [0.05], "steps": 6},
    "fgsm": {"epsilons": [0.05]},
}
NAMES = list(OPTIONS)
RANDOM = [name for name in NAMES if not base.load(name).deterministic]
REDUCING = ("gaussian_blur", "contrast_reduction", "spatial", "shifts")
FIXED = (*REDUCING, "fgsm")


def network(name: str) -> Logits:
    return contrast(0.16) if name in REDUCING else roughness(0.16)


def clean(count: int = 12, channels: int = 1, seed: int = 0) -> Tensor:
    """Images of mixed contrast, so that they are found at different steps and some never."""
    spread = torch.linspace(0.2, 1.0, count)[:, None, None, None]
    return 0.5 + (images(count, channels, 6, 6, seed) - 0.5) * spread


def attacked(name: str, batch: Tensor, **more: Any) -> tuple[Tensor, Any]:
    task = problem(batch, more.pop("logits", network(name)), name=name, **more)
    attack = base.load(name)
    options = attack.options(OPTIONS[name])
    (strength,) = attack.strengths(options)
    return attack.run(task, **attack.arguments(options, strength)), task


def test_these_are_all() -> None:
    assert set(base.REGISTRY.entries) - {"autoattack"} == set(NAMES)
    assert {name for name in NAMES if base.load(name).deterministic} == set(FIXED)


@pytest.mark.parametrize("protocol", ["min-l2", "paper"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_what_moves_fools_and_stays_in_range(name: str, channels: int, protocol: str) -> None:
    batch = clean(channels=channels)
    found, task = attacked(name, batch, protocol=protocol)
    moved = (found != batch).flatten(1).any(1)
    assert int(moved.sum()) > 0
    assert torch.equal(network(name)(found).argmax(1) != task.labels, moved)
    assert torch.equal(moved, task.distance.isfinite())
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    difference = (found - batch).flatten(1).double()
    order = 2 if protocol == "min-l2" else torch.inf
    expected = torch.linalg.vector_norm(difference, order, dim=1)
    torch.testing.assert_close(task.distance[moved], expected[moved], rtol=1e-6, atol=0)


def asked(name: str, batch: Tensor, **more: Any) -> tuple[Tensor, Any, list[int]]:
    """Also the number of candidates in every question."""
    seen: list[int] = []

    def watching(candidates: Tensor) -> Tensor:
        seen.append(len(candidates))
        return network(name)(candidates)

    found, task = attacked(name, batch, logits=watching, **more)
    return found, task, seen[1:]  # the first asks for the labels


@pytest.mark.parametrize("name", NAMES)
def test_every_prediction_is_counted_where_it_belongs(name: str) -> None:
    batch = clean()
    _, task, seen = asked(name, batch, ask_ahead=False)
    assert task.evaluations.sum() == sum(seen)
    assert 0 not in seen
    for row in range(len(batch)):
        _, alone = attacked(name, batch[row : row + 1], samples=[row])
        assert alone.evaluations.tolist() == [task.evaluations[row]]


@pytest.mark.parametrize("name", NAMES)
def test_asking_ahead_changes_neither_results_nor_counts(name: str) -> None:
    batch = clean()
    expected, one, singly = asked(name, batch, ask_ahead=False)
    found, task, seen = asked(name, batch)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert task.evaluations.tolist() == one.evaluations.tolist()
    assert len(seen) <= len(singly)
    # No more than a search that keeps all images until the last is found.
    assert sum(seen) <= len(batch) * len(singly)
    assert max(seen) <= len(batch)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_a_result_depends_neither_on_the_batch_nor_on_its_order(
    name: str, data: st.DataObject
) -> None:
    batch = clean(10, channels=2)
    expected, whole = attacked(name, batch)
    order = data.draw(st.permutations(range(10)))
    part = order[: data.draw(st.integers(1, 10))]
    found, task = attacked(name, batch[part], samples=list(part))
    # Matrix products may round differently in batches of another size.
    torch.testing.assert_close(found, expected[part], atol=1e-6, rtol=0)
    assert task.evaluations.tolist() == whole.evaluations[list(part)].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_images_come_back_as_they_were_where_nothing_fools(name: str) -> None:
    batch = clean(5)
    before = batch.clone()
    found, task = attacked(name, batch, logits=never)
    assert torch.equal(found, before)
    assert torch.equal(batch, before)
    assert found.data_ptr() != batch.data_ptr()
    assert torch.isinf(task.distance).all()
    assert (task.evaluations > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_images_are_no_problem(name: str) -> None:
    def nobody_asks(batch: Tensor) -> Tensor:
        assert len(batch) == 0
        return torch.zeros(0, 2)

    found, _ = attacked(name, images(0, 3), logits=nobody_asks)
    assert found.shape == (0, 3, 8, 8)


@pytest.mark.parametrize("name", RANDOM)
def test_another_seed_draws_other_numbers(name: str) -> None:
    first, second = (attacked(name, clean(), seed=seed)[0] for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_global_is_drawn_from(name: str) -> None:
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    attacked(name, clean(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpys)  # type: ignore[index]


@pytest.mark.parametrize("name", NAMES)
def test_images_need_not_be_square(name: str) -> None:
    batch = 0.5 + (images(4, 2, 5, 9) - 0.5) * 0.6
    found, task = attacked(name, batch)
    assert found.shape == batch.shape
    assert (task.evaluations > 0).all()
