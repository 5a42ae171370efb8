"""Globs that have a text in common, and those that have none."""

from __future__ import annotations

import random
from fnmatch import fnmatchcase
from itertools import product

import pytest

from bench.plan.globs import meet


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("accuracy/top1", "accuracy/top1", True),
        ("accuracy/top5", "accuracy/top1", False),
        ("robustness/*/loss", "robustness/pgd/*", True),
        ("*/td", "*/*/bu", False),
        ("perturbed_top1[high]", "perturbed_top1[[]*]", False),  # a set: one letter
        ("perturbed_top1*", "perturbed_top1[[]*]", True),
        ("", "*", True),
        ("?", "", False),
    ],
)
def test_patterns_that_suites_have(one: str, other: str, wanted: bool) -> None:
    assert meet(one, other) is wanted
    assert meet(other, one) is wanted


def test_what_fits_both_is_found_wherever_there_is_any() -> None:
    """Against all short texts; every set here is of these letters, so that no longer text tells
    more."""
    texts = ["".join(text) for size in range(7) for text in product("ab]", repeat=size)]
    pick = random.Random(3)
    parts = ["a", "b", "*", "?", "[ab]", "[!a]", "[a-b]", "]", "[]a]"]
    seen = set()
    for _ in range(400):
        one, other = ("".join(pick.choices(parts, k=pick.randint(0, 3))) for _ in range(2))
        wanted = any(fnmatchcase(text, one) and fnmatchcase(text, other) for text in texts)
        assert meet(one, other) is wanted, (one, other)
        seen.add(wanted)
    assert seen == {True, False}


def test_endless_patterns_are_not_compared() -> None:
    assert meet("a" * 10**6, "*b")
