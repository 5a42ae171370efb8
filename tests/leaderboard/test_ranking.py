"""Intervals over seeds, and the ranks that they leave open."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from leaderboard.numbers.ranking import Rank, Spread, ranks, spread, unbeaten
from leaderboard.statistics.uncertainty import of_seeds


def test_the_interval_is_students_t() -> None:
    values = [90.1, 90.9, 91.4]
    found = spread(values)
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)
    assert found.mean == pytest.approx(np.mean(values))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_it_is_that_of_claims_and_comparisons(values: list[float]) -> None:
    found, other = spread(values, exact=True), of_seeds(np.array(values))
    assert (found.low, found.high) == pytest.approx(other.interval(), rel=1e-8, abs=1e-8)


def test_one_seed_and_infinity_have_none() -> None:
    assert spread([3.0]) == Spread(3.0, None, None)
    assert spread([3.0, math.inf]) == Spread(math.inf, None, None)
    assert spread([math.inf, math.inf]) == Spread(math.inf, math.inf, math.inf)


def test_seeds_that_are_equal_by_chance_have_none() -> None:
    """Counted numbers are equal by their nature."""
    assert spread([7.0, 7.0]) == Spread(7.0, None, None)
    assert spread([0.3, 0.1 + 0.2]) == Spread(pytest.approx(0.3), None, None)
    assert spread([7.0, 7.0], exact=True) == Spread(7.0, 7.0, 7.0)
    assert spread([7.0, 8.0], exact=True) == spread([7.0, 8.0])


@pytest.mark.parametrize("images", [50, 200, 1000])
def test_few_images_are_not_more_certain_than_many(images: int) -> None:
    """Two seeds often get as many right: intervals that are told hold the truth all the same."""
    random = np.random.default_rng(images)
    right = random.binomial(images, 0.99, (4000, 2))
    found = [spread((100 * row / images).tolist()) for row in right]
    told = [one.low <= 99 <= one.high for one in found if one.low is not None and one.high]
    assert np.mean(told) > 0.95 - 0.02


def test_it_covers_what_it_says() -> None:
    """In 95 of 100 cases, whatever the number of seeds; 4,000 draws leave 0.4 points of chance."""
    random = np.random.default_rng(0)
    for seeds in (2, 3, 5):
        found = [spread(row.tolist()) for row in random.normal(10, 2, (4000, seeds))]
        inside = [one.low <= 10 <= one.high for one in found if one.low is not None and one.high]
        assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def of(*ends: tuple[float, float]) -> list[Spread]:
    return [Spread((low + high) / 2, low, high) for low, high in ends]


def test_ranks_are_shared_where_intervals_overlap() -> None:
    found = ranks(of((90, 92), (91, 93), (80, 82), (85, 86)), "higher")
    assert [rank and rank.text for rank in found] == ["1–2", "1–2", "4", "3"]
    lower = ranks(of((90, 92), (91, 93), (80, 82), (85, 86)), "lower")
    assert [rank and rank.text for rank in lower] == ["3–4", "3–4", "1", "2"]


def test_who_has_no_interval_is_not_counted() -> None:
    """Neither as better nor as worse: places are among the ranked, and there are as many."""
    single = [Spread(mean, None, None) for mean in (99, 85, 10)]
    assert ranks([*of((90, 92), (80, 82)), *single], "higher") == [
        Rank(1, 1),
        Rank(2, 2),
        *[None] * 3,
    ]
    assert ranks([*of((90, 92), (91, 93)), *single], "lower")[:2] == [Rank(1, 2), Rank(1, 2)]


def test_unbeaten_are_those_that_the_best_does_not_leave_behind() -> None:
    found = of((90, 92), (91, 93), (80, 90.5))
    assert unbeaten(found, "higher") == [True, True, False]
    endless = spread([math.inf, math.inf])
    assert unbeaten([endless, *of((1, 2)), Spread(math.inf, None, None)], "higher") == [
        True,
        False,
        False,
    ]


def test_of_one_seed_nothing_is_unbeaten() -> None:
    assert unbeaten([Spread(5, None, None), Spread(4, None, None)], "lower") == [False, False]
    assert unbeaten([Spread(99, None, None), *of((90, 92))], "higher") == [False, False]
    assert unbeaten([Spread(91, None, None), *of((90, 92), (91, 92))], "higher") == [
        False,
        True,
        True,
    ], "whose interval nobody knows overlaps nothing"
    assert unbeaten(of((90, 92)), "higher") == [False]
    assert unbeaten([], "higher") == []


spreads = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0, 20)).map(
        lambda x: Spread(x[0], x[0] - x[1], x[0] + x[1])
    ),
    min_size=1,
    max_size=9,
)


@given(spreads)
def test_every_place_is_open_to_somebody(found: list[Spread]) -> None:
    places = [rank for rank in ranks(found, "higher") if rank is not None]
    assert len(places) == len(found)
    for place in range(1, len(found) + 1):
        assert any(rank.best <= place <= rank.worst for rank in places)
    best = max(range(len(found)), key=lambda k: found[k].mean)
    assert places[best].best == 1
    assert unbeaten(found, "higher")[best] == (len(found) > 1)
