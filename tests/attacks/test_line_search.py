"""The search along a path: every step, or a coarse scan and halving."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from attack_parts import contrast, images
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.attacks import base
from bench.attacks.line_search import STRIDE, Search, first_hit
from bench.attacks.problem import Problem
from bench.attacks.source import KeyedSource


def walk(
    hits: list[Callable[[int], bool]], steps: int, search: Search
) -> tuple[list[int], Problem]:
    """For every image the step that is kept (0: none). An image at step k has the value k."""
    count = len(hits)
    clean = torch.zeros(count, 2, 1, 1)
    clean[:, 1, 0, 0] = torch.arange(count) / 1000

    def logits(batch: Tensor) -> Tensor:
        wrong = [hits[round(1000 * float(b[1]))](round(1000 * float(b[0]))) for b in batch]
        return torch.tensor([[0.5, float(w)] for w in wrong])

    def path(index: Tensor, step: int) -> Tensor:
        candidates = clean[index].clone()
        candidates[:, 0] = step / 1000
        return candidates

    source = KeyedSource(0, "x", 0, range(count))
    problem = Problem(clean, torch.zeros(count).long(), logits, source)
    first_hit(problem, problem.rows, path, steps, search)
    return [round(1000 * float(image[0])) for image in problem.best], problem


def from_(first: int) -> Callable[[int], bool]:
    return lambda step: step >= first


@settings(deadline=None)
@given(firsts=st.lists(st.integers(1, 70), min_size=1, max_size=6), steps=st.integers(1, 60))
def test_a_border_is_found_by_both_searches(firsts: list[int], steps: int) -> None:
    expected = [first if first <= steps else 0 for first in firsts]
    kept, exact = walk([from_(first) for first in firsts], steps, "exact")
    assert kept == expected
    assert exact.evaluations.tolist() == [min(first, steps) for first in firsts]
    kept, fast = walk([from_(first) for first in firsts], steps, "fast")
    assert kept == expected
    for first, asked in zip(firsts, fast.evaluations, strict=True):
        assert asked <= -(-min(first, steps) // STRIDE) + 3


def test_the_fast_search_can_miss_a_hit_between_its_points() -> None:
    def briefly(step: int) -> bool:
        return step in (9, 10) or step >= 30

    assert walk([briefly], 40, "exact")[0] == [9]
    assert walk([briefly], 40, "fast")[0] == [30]


def test_a_hit_at_the_last_step_is_found_when_it_is_no_multiple() -> None:
    assert walk([from_(13)], 13, "fast")[0] == [13]


@pytest.mark.parametrize("name", ["gaussian_blur", "contrast_reduction", "blended_uniform"])
def test_attacks_along_a_path_offer_both(name: str) -> None:
    attack = base.load(name)
    clean = 0.5 + (images(10, 1) - 0.5) * torch.linspace(0.5, 1, 10)[:, None, None, None]
    logits = contrast(0.12)
    found, spent = {}, {}
    for search in ("exact", "fast"):
        source = KeyedSource(0, name, 0, range(10))
        problem = Problem(clean, logits(clean).argmax(1), logits, source)
        options = attack.options({"search": search, "epsilons": 96})
        found[search] = attack.run(problem, **options)
        spent[search] = problem.evaluations.mean()
    torch.testing.assert_close(found["fast"], found["exact"])
    assert spent["fast"] < spent["exact"]
    with pytest.raises(Exception, match="'search' must be one of exact, fast"):
        attack.options({"search": "quick"})
