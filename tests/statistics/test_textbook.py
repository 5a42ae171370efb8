"""Each statistic against a textbook's or scipy's value."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from leaderboard.statistics.hodges_lehmann import log_ratio, shift
from leaderboard.statistics.mcnemar import Flips, flips
from leaderboard.statistics.moderated import NOTHING, Prior, fit, moderated, trigamma_inverse
from leaderboard.statistics.multiplicity import corrected
from leaderboard.statistics.uncertainty import Uncertain, image_part, of_seeds
from leaderboard.statistics.verdict import Compared, Verdict, decide

# Student, "The probable error of a mean", Biometrika 6 (1908): hours of sleep gained by two drugs.
ONE = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
OTHER = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
# Hollander, Wolfe and Chicken, table 3.1: depression before and after a tranquilizer.
BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


def test_students_own_example() -> None:
    found = of_seeds(OTHER - ONE)
    assert found.mean == pytest.approx(1.58)
    assert found.p_value() == pytest.approx(0.002833, abs=1e-6)
    assert found.interval() == pytest.approx((0.7001, 2.4599), abs=1e-4)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12), st.floats(-3, 3))
def test_seeds_alone_are_students_t(values: list[float], null: float) -> None:
    array = np.array(values)
    if array.std() < 1e-3:
        return
    for side, name in (("two", "two-sided"), ("above", "greater"), ("below", "less")):
        theirs = stats.ttest_1samp(array, null, alternative=name).pvalue
        assert of_seeds(array).p_value(side, null) == pytest.approx(theirs, abs=1e-9)


def test_the_p_value_and_the_interval_say_the_same() -> None:
    found = Uncertain(1.0, 0.03, 2, 0.05)
    low, high = found.interval(0.9)
    assert found.p_value("above", low) == pytest.approx(0.05)
    assert found.p_value("below", high) == pytest.approx(0.05)
    assert found.p_value("two", low) == pytest.approx(0.1)


def test_the_part_of_the_images_is_that_of_an_analysis_of_variance() -> None:
    table = np.array([[4.0, 6.0, 9.0], [5.0, 9.0, 8.0]])  # by hand: 26/3 and 2
    ss_images = 2 * ((table.mean(0) - table.mean()) ** 2).sum()
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    wanted = (ss_images / 2 - (rest**2).sum() / 2) / 6
    assert (ss_images / 2, (rest**2).sum() / 2) == pytest.approx((26 / 3, 2.0))
    assert image_part(table) == pytest.approx(wanted)


def test_a_single_seed_is_told_by_its_images_alone() -> None:
    values = np.random.default_rng(0).normal(size=(1, 50))
    assert image_part(values) == pytest.approx(values.var(ddof=1) / 50)
    assert math.isnan(of_seeds(np.array([3.0])).variance)


@pytest.mark.parametrize("y", [1e-3, 0.1, 0.5, 1.0, 7.5, 100.0, 1e5])
def test_trigamma_inverse(y: float) -> None:
    assert trigamma_inverse(float(special.polygamma(1, y))) == pytest.approx(y, rel=1e-6)


def test_the_prior_of_many_cells_is_found_again() -> None:
    """Variances drawn as Smyth's model says: d0 = 8 degrees of freedom about 0.25."""
    rng = np.random.default_rng(3)
    truth = 8 * 0.25 / rng.chisquare(8, 20_000)
    variances = truth * rng.chisquare(3, 20_000) / 3
    prior = fit(variances.tolist(), [3.0] * 20_000)
    assert prior.freedom == pytest.approx(8, rel=0.1)
    assert prior.variance == pytest.approx(0.25, rel=0.03)


def test_cells_that_differ_by_chance_are_pooled() -> None:
    prior = fit([0.9, 1.1, 1.0, 0.0], [4, 4, 4, 4])
    assert prior == Prior(pytest.approx(1.0), 12.0)  # never more than all cells together
    assert fit([], []) == fit([0.0], [3]) == NOTHING


def test_a_moderated_t_lies_between_student_and_the_pooled_one() -> None:
    values = np.array([1.0, 2.0, 3.0])  # s^2 = 1, d = 2
    found = moderated(of_seeds(values), Prior(4.0, 6), 3)
    assert (found.seeds * 3, found.freedom) == (pytest.approx((6 * 4 + 2 * 1) / 8), 8)
    t = 2 / math.sqrt(3.25 / 3)
    assert found.p_value() == pytest.approx(2 * stats.t.sf(t, 8))
    assert moderated(of_seeds(values), NOTHING, 3).p_value() == pytest.approx(
        stats.ttest_1samp(values, 0).pvalue
    )
    single = moderated(of_seeds(np.array([2.0])), Prior(4.0, 6), 1)
    assert (single.error, single.freedom) == (2.0, 6)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_a_binomial_test(gained: int, lost: int) -> None:
    before = np.array([False] * gained + [True] * lost + [True] * 20)
    after = np.array([True] * gained + [False] * lost + [True] * 20)
    found = flips(before, after)
    assert found == Flips(gained, lost, gained + lost + 20)
    theirs = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert found.p_value == pytest.approx(theirs)


def test_mcnemars_textbook_value() -> None:
    """Agresti, "Categorical Data Analysis", table 10.1: 150 against 86 changed their minds."""
    found = Flips(86, 150, 1600)
    assert found.points == -4.0
    assert found.p_value == pytest.approx(3.7e-5, rel=0.02)


def test_hodges_and_lehmanns_textbook_value() -> None:
    found = shift(AFTER - BEFORE, level=0.95)
    assert found.value == pytest.approx(-0.46)
    assert (found.low, found.high) == pytest.approx((-0.786, -0.010))
    assert found.p_value == pytest.approx(0.0390625)


def test_few_pairs_have_no_interval() -> None:
    assert shift(np.array([0.1, 0.2, 0.3]), 0.99).high == math.inf
    assert math.isfinite(shift(np.linspace(0.1, 0.2, 8), 0.99).high)  # 2 / 2^8 < 0.01


# Between these, scipy goes through all signs of equal ratios, for half a second each time.
COUNTS = st.sampled_from([8, 9, 14, 17, 20])


@settings(deadline=None)  # scipy.stats is loaded on first use
@given(
    st.floats(0.5, 2.0),
    COUNTS.flatmap(lambda n: st.lists(st.floats(1, 100), min_size=n, max_size=n)),
)
def test_a_ratio_of_times_is_found_whatever_their_size(ratio: float, times: list[float]) -> None:
    found = log_ratio(times, [ratio * time for time in times])
    assert (found.value, found.low, found.high) == pytest.approx((math.log(ratio),) * 3, abs=1e-9)


def test_many_pairs_take_the_normal_approximation() -> None:
    values = np.random.default_rng(0).normal(0.1, 1, 201)
    few, many = shift(values[:200], 0.95), shift(values, 0.95)
    assert many.half == pytest.approx(few.half, rel=0.05)


def test_benjamini_and_hochbergs_own_example() -> None:
    """Table of 15 p-values in their section 4.1: the four smallest are rejected at 0.05."""
    values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    values += [0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    adjusted = corrected(values[::-1])[::-1]
    assert [p < 0.05 for p in adjusted] == [True] * 4 + [False] * 11
    assert adjusted[3] == pytest.approx(0.0095 * 15 / 4)
    assert corrected([]) == []


@pytest.mark.parametrize(
    ("difference", "p", "better", "wanted"),
    [
        (1.0, 0.01, "higher", Verdict.BETTER),
        (1.0, 0.01, "lower", Verdict.WORSE),
        (-1.0, 0.01, "higher", Verdict.WORSE),
        (1.0, 0.2, "higher", Verdict.INCONCLUSIVE),
        (0.1, 0.2, "higher", Verdict.EQUIVALENT),
        (0.0, 1.0, "higher", Verdict.EQUIVALENT),
    ],
)
def test_verdicts(difference: float, p: float, better: str, wanted: Verdict) -> None:
    half = 0.2 if difference else 0.0
    found = Compared(difference, difference - half, difference + half, None, p, p, 3)
    assert decide(found, better, margin=0.5) is wanted  # type: ignore[arg-type]
