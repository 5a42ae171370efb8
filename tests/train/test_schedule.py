"""Learning-rate schedules, against the paper's epochs and the definition in exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.suite.recipe import Recipe
from bench.train.schedule import learning_rate

EPOCHS = st.integers(1, 400)
STEPS = st.integers(1, 60)


def at_epoch(recipe: Recipe, epoch: int, steps: int = 7) -> list[float]:
    return [learning_rate(recipe, epoch * steps + step, steps) for step in range(steps)]


@pytest.mark.parametrize(
    ("epochs", "first", "second"),
    [
        (50, 25, 40),
        (30, 15, 24),
        (40, 20, 32),
        (100, 50, 80),
        (200, 100, 160),
        (80, 40, 64),
        (7, 4, 6),
        (1, 1, 1),
    ],
)
def test_three_stages_drop_where_the_paper_drops(epochs: int, first: int, second: int) -> None:
    recipe = Recipe(epochs=epochs, lr=0.05)
    for epoch in range(epochs):
        factor = 1.0 if epoch < first else 0.1 if epoch < second else 0.01
        assert at_epoch(recipe, epoch) == pytest.approx([0.05 * factor] * 7)


@given(epochs=EPOCHS, steps=STEPS, data=st.data())
def test_three_stages_by_exact_arithmetic(epochs: int, steps: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, epochs * steps - 1))
    drops = sum(
        step // steps >= math.ceil(share * epochs) for share in (Fraction(1, 2), Fraction(4, 5))
    )
    found = learning_rate(Recipe(epochs=epochs, lr=3.0), step, steps)
    assert found == pytest.approx(3.0 / 10**drops)


@given(epochs=EPOCHS, steps=STEPS)
def test_one_cycle_rises_once_and_falls_once(epochs: int, steps: int) -> None:
    recipe = Recipe(epochs=epochs, lr=0.2, schedule="one-cycle")
    total = epochs * steps
    rates = [learning_rate(recipe, step, steps) for step in range(total)]
    assert rates[0] == pytest.approx(0.2 / 25)
    assert all(0 < rate <= 0.2 * (1 + 1e-12) for rate in rates)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert peak in (math.floor(0.3 * total), math.ceil(0.3 * total)) or total < 3
    if total >= 10:
        assert rates[-1] == pytest.approx(0.2 / 25_000)
        assert max(rates) > 0.15


@given(epochs=st.integers(1, 30), steps=st.integers(1, 30))
def test_one_cycle_knows_only_the_total_of_steps(epochs: int, steps: int) -> None:
    cycle = Recipe(epochs=epochs, schedule="one-cycle")
    turned = Recipe(epochs=steps, schedule="one-cycle")
    for step in range(epochs * steps):
        assert learning_rate(cycle, step, steps) == learning_rate(turned, step, epochs)


def test_constant_is_constant() -> None:
    recipe = Recipe(epochs=9, lr=0.3, schedule="constant")
    assert {rate for epoch in range(9) for rate in at_epoch(recipe, epoch)} == {0.3}
