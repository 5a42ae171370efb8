"""The contract of attacks: options, random streams, counting, and how they are found."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from attack_parts import images, never
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.attacks import base
from bench.errors import BenchError, UnknownNameError

BUILT_IN = ["additive_gaussian", "gaussian_blur"]
GOLDEN = [1289023783, 4129888849, 1198937874]
KEYS = st.tuples(
    st.integers(0, 2**31 - 1),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=50),
    st.integers(0, 10),
    st.integers(0, 10**6),
)


def plain(problem: base.Problem) -> Tensor:
    """An attack as a plain function: finds nothing."""
    return problem.images


not_an_attack = 5


def numbers(*key: Any) -> list[float]:
    return list(base.stream(*key).standard_normal(4))


@given(one=KEYS, other=KEYS)
def test_a_stream_is_its_key(one: Any, other: Any) -> None:
    assert numbers(*one) == numbers(*one)
    assert (numbers(*one) == numbers(*other)) == (one == other)


def test_every_part_of_the_key_counts() -> None:
    parts = ([0, 1, 2, 2**31 - 1], ["a", "b", "ab"], [0, 1, 2], [0, 1, 2, 60_000])
    drawn = {tuple(numbers(*key)) for key in itertools.product(*parts)}
    assert len(drawn) == 4 * 3 * 3 * 4


def test_long_names_with_a_common_beginning_are_kept_apart() -> None:
    stem = "a_package_with_a_long_name.attacks:"
    assert numbers(0, stem + "first", 0, 0) != numbers(0, stem + "second", 0, 0)


def test_streams_do_not_move_from_version_to_version() -> None:
    assert base.stream(3, "additive_gaussian", 1, 17).integers(0, 2**32, 3).tolist() == GOLDEN


def test_streams_of_neighbours_are_unrelated() -> None:
    drawn = np.stack([base.stream(0, "x", 0, sample).standard_normal(500) for sample in range(40)])
    related = np.corrcoef(drawn) - np.eye(40)
    assert np.abs(related).max() < 0.25


def test_a_problem_counts_every_question() -> None:
    clean = images(4)
    task = base.Problem(clean, torch.tensor([0, 0, 1, 0]), never, [])
    assert task.evaluations.tolist() == [0, 0, 0, 0]
    wrong = task.fooled(clean[[2, 0]], torch.tensor([2, 0]))
    task.fooled(clean[[2]], torch.tensor([2]))
    assert wrong.tolist() == [True, False]
    assert task.evaluations.tolist() == [1, 0, 2, 0]
    assert task.evaluations.dtype == np.int64


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_attacks_declare_their_options(name: str) -> None:
    attack = base.load(name)
    assert attack.options({}) == dict(attack.defaults) == {"epsilons": 1000}
    assert attack.options({"epsilons": 12}) == {"epsilons": 12}
    assert dict(attack.defaults) == {"epsilons": 1000}


@pytest.mark.parametrize("value", [0, -1, 2.5, 100.0, True, "100", None, [3], float("nan")])
def test_steps_are_a_positive_whole_number(value: Any) -> None:
    with pytest.raises(BenchError, match="option 'epsilons' must be a positive whole number, not"):
        base.load("gaussian_blur").options({"epsilons": value})


@pytest.mark.parametrize("value", [0.0, -0.5, float("inf"), float("nan"), False, "0.5"])
def test_other_numbers_are_positive_and_finite(value: Any) -> None:
    attack = base.Attack(plain, deterministic=True, defaults={"step": 0.1})
    assert attack.options({"step": 2}) == {"step": 2}
    with pytest.raises(BenchError, match="option 'step' must be a positive number, not"):
        attack.options({"step": value})


def test_unknown_options_name_the_known_ones() -> None:
    with pytest.raises(BenchError, match="unknown option 'epsilon'; known: epsilons"):
        base.load("gaussian_blur").options({"epsilon": 3})
    with pytest.raises(BenchError, match="unknown option 'steps'; known: it has none"):
        base.load("test_attack_contract:plain").options({"steps": 3})


def test_a_plain_function_is_a_random_attack() -> None:
    attack = base.load("test_attack_contract:plain")
    assert (attack.deterministic, attack.version, dict(attack.defaults)) == (False, 1, {})


def test_what_is_no_attack() -> None:
    with pytest.raises(BenchError, match="is neither an Attack nor a function"):
        base.load("test_attack_contract:not_an_attack")
    with pytest.raises(UnknownNameError, match="unknown attack 'gausian_blur'; did you mean"):
        base.load("gausian_blur")
    with pytest.raises(BenchError, match="does not import"):
        base.load("test_attack_contract:absent")


def test_a_key_holds_every_option_the_version_and_foreign_code() -> None:
    assert base.key("gaussian_blur", {}) == base.key("gaussian_blur", {"epsilons": 1000})
    assert base.key("gaussian_blur", {}) != base.key("gaussian_blur", {"epsilons": 999})
    assert base.key("gaussian_blur", {}) == {
        "name": "gaussian_blur",
        "options": {"epsilons": 1000},
        "version": 1,
    }
    assert base.key("test_attack_contract:plain", {})["code"].startswith("source:")


def test_deterministic_attacks_say_so() -> None:
    assert {name: base.load(name).deterministic for name in BUILT_IN} == {
        "additive_gaussian": False,
        "gaussian_blur": True,
    }
