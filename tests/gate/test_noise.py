"""What the gate takes for chance: trainings of the same seeds, again and again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pytest

from leaderboard.gate.measured import Machine, Measured, Number
from leaderboard.gate.noise import noise
from leaderboard.numbers.summary import Key
from leaderboard.statistics.moderated import moderated
from leaderboard.statistics.uncertainty import of_seeds

TOP1 = Key("some", "net", "bu", "accuracy", "top1")
SPEED = Key("some", "net", "bu", "efficiency", "images_per_second")


def run(values: Mapping[int, float], key: Key = TOP1) -> Measured:
    """A run of one network."""
    return Measured("suite", {}, Machine(), {key: Number("%", "higher", dict(values))})


def table(rows: np.ndarray) -> list[Measured]:
    """Runs (rows) of the same seeds (columns)."""
    return [run(dict(enumerate(row.tolist()))) for row in rows]


@pytest.mark.parametrize(("runs", "seeds"), [(2, 2), (2, 5), (4, 2), (6, 2), (5, 3)])
def test_trainings_count_once_for_all_pairs_that_they_are_in(runs: int, seeds: int) -> None:
    """R(R-1)/2 pairs of runs are made of R: the mean of their variances is known with
    (R-1)(S-1) degrees of freedom, whatever the seeds and each run have in common."""
    random = np.random.default_rng([runs, seeds])
    rows = 80 + 3 * random.normal(size=seeds) + random.normal(size=(runs, 1))
    rows = rows + random.normal(size=(runs, seeds))
    squares, freedom = noise(table(rows)).paired[TOP1]
    assert freedom == (runs - 1) * (seeds - 1)
    pairs = [(rows[b] - rows[a]).var(ddof=1) for a, b in combinations(range(runs), 2)]
    assert squares / freedom == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize(
    ("sets", "wanted"),
    [
        ([{0, 1, 2}, {0, 1}], 1),
        ([{0, 1, 2}, {0, 1}, {1, 2}], 2),  # 7 values, less 3 seeds and 2 further runs
        ([{0, 1, 2}, {0, 1}, {1, 2}, {7, 8}], 2),
        ([{0, 1}, {0, 1}, {5, 6, 7}, {5, 6, 7}], 3),
        ([{0, 1, 2, 3}, {0, 1}, {0, 1}, {2, 3}, {2, 3}], 4),
        ([{0}, {0}, {0}], None),
        ([{0, 1}, {2, 3}], None),
        ([{0, 1}], None),
    ],
)
def test_runs_need_not_have_the_same_seeds(sets: list[set[int]], wanted: int | None) -> None:
    """The variance of a difference is 2 on average, by as many degrees of freedom as there are."""
    random = np.random.default_rng(3)
    found = []
    for _ in range(300):
        level = 3 * random.normal(size=9)
        shifts = random.normal(size=len(sets))
        found.append(
            noise(
                run({seed: level[seed] + shift + random.normal() for seed in seeds})
                for seeds, shift in zip(sets, shifts, strict=True)
            ).paired
        )
    if wanted is None:
        assert not any(found)
        return
    assert {one[TOP1].freedom for one in found} == {wanted}
    error = 2 * math.sqrt(2 / (wanted * len(found)))
    assert np.mean([one[TOP1].squares for one in found]) / wanted == pytest.approx(2, abs=3 * error)


def test_the_very_same_numbers_are_no_second_training() -> None:
    random = np.random.default_rng(5)
    one, other, third = table(random.normal(size=(3, 3)))
    values = one.numbers[TOP1].values
    part = run({seed: values[seed] for seed in (0, 2)})
    assert not noise([one, one, part]).paired
    assert noise([one, one, other, part, third, other]).paired == noise([one, other, third]).paired


def test_runs_that_differ_by_a_constant_have_no_noise() -> None:
    """Not even that of rounding, which would be taken for a very small spread."""
    values = {0: 0.1, 1: 0.7, 2: 91.3}
    runs = [run({s: v + step for s, v in values.items()}) for step in (0.0, 0.1, 0.2, 1e-3)]
    assert noise(runs).paired == {TOP1: (0.0, 6)}


def test_infinite_values_say_nothing_of_noise() -> None:
    random = np.random.default_rng(6)
    one, other, third = table(random.normal(size=(3, 2)))
    broken = run({0: math.inf, 1: 1.0})
    assert noise([one, broken, other, third]).paired == noise([one, other, third]).paired
    speeds = [run({0: 2.0, 1: 3.0}, SPEED), run({0: 4.0, 1: 3.0}, SPEED), run({0: 0.0}, SPEED)]
    squares, freedom = noise(speeds).paired[SPEED]
    assert (squares, freedom) == (pytest.approx(math.log(2) ** 2 / 2), 1)


@pytest.mark.parametrize(("runs", "seeds"), [(6, 2), (4, 3)])
def test_unchanged_trainings_differ_by_chance_as_often_as_said(runs: int, seeds: int) -> None:
    random = np.random.default_rng([runs, seeds, 1])
    draws, below = 3000, np.zeros(2)
    for _ in range(draws):
        rows = 3 * random.normal(size=seeds) + random.normal(size=(runs + 1, seeds))
        *history, after = table(rows)
        prior, pooled = noise(history).of_difference(TOP1, after)
        p_value = moderated(of_seeds(rows[-1] - rows[0]), prior, seeds, pooled).p_value("below")
        below += (p_value < 0.05, p_value < 0.005)
    for count, alpha in zip(below, (0.05, 0.005), strict=True):
        assert abs(count / draws - alpha) < 3 * math.sqrt(alpha / draws)
