import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from leaderboard.numbers.bootstrap import (
    Interval,
    Resamples,
    interval,
    intervals,
    lower_median,
    mean_interval,
    median_interval,
)

distance = st.one_of(st.just(0.0), st.just(np.inf), st.floats(0.001, 50))


def drawn(resamples: Resamples, rows: int = 200) -> np.ndarray:
    """How often each image is in the first resamples, by asking for the mean of each image."""
    means = resamples.means(np.eye(resamples.images))
    return np.round(means * resamples.images).astype(int)[:rows]


def test_every_resample_has_as_many_images_as_there_are() -> None:
    counts = drawn(Resamples(37))
    assert set(counts.sum(1)) == {37}
    assert counts.var() == pytest.approx(36 / 37, rel=0.05)  # multinomial
    assert set(Resamples(5).seeds(3).sum(1)) == {3.0}


@given(st.integers(1, 40), st.data())
@settings(max_examples=50)
def test_medians_are_those_of_the_resampled_images(images: int, data: st.DataObject) -> None:
    l2 = data.draw(arrays(np.float64, images, elements=distance))
    resamples = Resamples(images, replicates=20)
    wanted = [lower_median(np.repeat(l2, row)) for row in drawn(resamples)]
    assert resamples.medians(l2[None])[:, 0].tolist() == wanted


def test_medians_of_many_images_are_exact_too() -> None:
    """Of rows with few and many values above 0 and with none, at once."""
    rng = np.random.default_rng(5)
    l2 = rng.lognormal(1, 0.5, (5, 1200))
    l2[rng.random((5, 1200)) < np.array([[0.7], [0.0], [1.0], [0.1], [0.99]])] = 0.0
    l2[1, 600:] = np.inf
    resamples = Resamples(1200, replicates=300)
    counts = drawn(resamples, 300)
    wanted = [[lower_median(np.repeat(row, count)) for row in l2] for count in counts]
    assert resamples.medians(l2).tolist() == wanted


def test_one_seed_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, 3.0, 150)
    mine = mean_interval(values[None], Resamples(150, replicates=20_000))
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", random_state=2
    ).confidence_interval
    width = theirs.high - theirs.low
    assert mine.value == pytest.approx(values.mean())
    assert mine.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert mine.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_one_seed_median_agrees_with_scipy() -> None:
    l2 = np.random.default_rng(1).gamma(2.0, 3.0, 151)
    mine = median_interval(l2[None], Resamples(151, replicates=10_000))
    theirs = stats.bootstrap(
        (l2,), np.median, n_resamples=10_000, method="percentile", random_state=2
    ).confidence_interval
    width = theirs.high - theirs.low
    assert mine.value == np.median(l2)
    assert mine.low == pytest.approx(theirs.low, abs=0.1 * width)
    assert mine.high == pytest.approx(theirs.high, abs=0.1 * width)


def coverage(seeds: int, between: float, runs: int = 250, images: int = 100) -> float:
    """How often the interval holds the truth, 0: seeds differ by `between`, images by 1, and each
    network has its own errors of size 1 on them."""
    rng = np.random.default_rng(8)
    resamples = Resamples(images, replicates=400)
    held = 0
    for _ in range(runs):
        values = (
            between * rng.normal(size=(seeds, 1))
            + rng.normal(size=(1, images))
            + rng.normal(size=(seeds, images))
        )
        found = mean_interval(values, resamples)
        held += found.low <= 0.0 <= found.high
    return held / runs


@pytest.mark.parametrize(("seeds", "between"), [(2, 0.5), (3, 0.0), (3, 0.2), (4, 1.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds: int, between: float) -> None:
    assert 0.92 <= coverage(seeds, between) <= 0.985  # 250 draws: two standard errors are 0.03


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 4, 5, 10])
def test_intervals_hold_the_truth_at_every_ratio(seeds: int) -> None:
    found = {between: coverage(seeds, between, 3000) for between in (0.0, 0.1, 0.3, 1.0)}
    print(seeds, found)
    assert min(found.values()) >= 0.93
    assert max(found.values()) <= (0.985 if seeds == 2 else 0.975)


def test_without_regard_to_seeds_they_would_not() -> None:
    """The simulation can tell: images alone hold the truth far too seldom."""
    rng = np.random.default_rng(8)
    resamples = Resamples(100, replicates=400)
    held = 0
    for _ in range(200):
        values = rng.normal(size=(4, 1)) + rng.normal(size=(4, 100))
        boot = resamples.means(values).mean(1)
        held += np.quantile(boot, 0.025) <= 0.0 <= np.quantile(boot, 0.975)
    assert held / 200 < 0.5


def test_two_seeds_that_differ_say_little() -> None:
    values = np.array([[0.0] * 50, [1.0] * 50])
    found = mean_interval(values, Resamples(50))
    t = stats.t.ppf(0.975, 1)
    assert (found.value, found.high - found.low) == (0.5, pytest.approx(2 * t * 0.5, rel=0.01))
    assert mean_interval(values, Resamples(50), (0.0, 1.0)) == Interval(0.5, 0.0, 1.0)


def test_seeds_that_agree_change_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(1, 80))
    resamples = Resamples(80)
    one, three = (mean_interval(np.repeat(values, n, 0), resamples) for n in (1, 3))
    assert (three.low, three.high) == (pytest.approx(one.low), pytest.approx(one.high))


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("images", [49, 100])
def test_no_image_or_every_image_is_an_estimate_too(seeds: int, images: int) -> None:
    """Resamples of what is all alike tell nothing: the exact ends are those for 0 and N of the N
    images, which the seeds share, and not of seeds times images."""
    resamples = Resamples(images, replicates=200)
    none, every = (
        mean_interval(np.full((seeds, images), value), resamples, (0.0, 100.0))
        for value in (0.0, 100.0)
    )
    exact = 100 * stats.binomtest(0, images).proportion_ci(method="exact").high
    assert (none.value, none.low, none.high) == (0.0, 0.0, pytest.approx(exact))
    assert (every.value, every.low, every.high) == (100.0, pytest.approx(100 - exact), 100.0)
    apart = mean_interval(np.full((seeds, images), -100.0), resamples, (-100.0, 100.0))
    assert (apart.low, apart.high) == (-100.0, pytest.approx(-100 + 2 * exact))


def test_what_is_alike_between_the_bounds_leaves_room_as_well() -> None:
    """As the difference of two networks of which none is ever fooled, 0 for every image."""
    share = stats.binomtest(0, 50).proportion_ci(method="exact").high
    for value in (0.0, 30.0):
        values = np.full((2, 50), value)
        found = mean_interval(values, Resamples(50, replicates=200), (-100.0, 100.0))
        assert found.value == pytest.approx(value)
        assert found.low == pytest.approx(value - share * (value + 100))
        assert found.high == pytest.approx(value + share * (100 - value))
    endless = mean_interval(np.zeros((2, 50)), Resamples(50, replicates=200))
    assert endless == Interval(0.0, 0.0, 0.0)


@pytest.mark.parametrize("seeds", [1, 3])
def test_rare_survivors_are_within_the_interval(seeds: int) -> None:
    """0.3 % survive: of 100 images mostly none."""
    rng = np.random.default_rng(3)
    resamples = Resamples(100, replicates=200)
    held = 0
    for _ in range(250):
        found = mean_interval(100.0 * (rng.random((seeds, 100)) < 0.003), resamples, (0.0, 100.0))
        held += found.low <= 0.3 <= found.high
    assert held / 250 > 0.9


def test_infinite_medians_stay_infinite_and_never_become_nan() -> None:
    resamples = Resamples(4)
    assert median_interval(np.full((2, 4), np.inf), resamples) == Interval(np.inf, np.inf, np.inf)
    assert median_interval(np.zeros((2, 4)), resamples) == Interval(0.0, 0.0, 0.0)
    some = median_interval(
        np.array([[1.0, 1.0, 1.0, np.inf], [2.0, 2.0, np.inf, np.inf]]), resamples
    )
    assert (some.value, some.high) == (1.5, np.inf)
    assert 0 <= some.low <= 1.5
    half = median_interval(np.array([[1.0] * 4, [np.inf] * 4]), resamples)
    assert (half.value, half.low, half.high) == (np.inf, 1.0, np.inf)


def by_definition(per_seed: np.ndarray, boot: np.ndarray, drawn_seeds: np.ndarray) -> Interval:
    """One statistic's interval, step by step: percentiles of the pigeonhole bootstrap, stretched to
    the width of the variance between seeds and that of images beside it."""
    seeds, value = len(per_seed), float(per_seed.mean())
    both = [
        sum(n * v for n, v in zip(counts, row, strict=True) if n)
        for counts, row in zip(drawn_seeds, boot, strict=True)
    ]
    ordered = np.sort(np.array(both) / seeds)
    last = len(ordered) - 1
    low, high = ordered[int(0.025 * last)], ordered[-int(-0.975 * last // 1)]
    if seeds == 1 or not np.isfinite([value, low, high]).all() or not high > low:
        return Interval(value, low, high)
    known = boot[np.isfinite(boot).all(1)]
    apart = known - known.mean(1, keepdims=True)
    images = max(0.0, known.mean(1).var() - apart.var(0).sum() / (seeds - 1) / seeds)
    between = per_seed.var(ddof=1) / seeds
    if between <= 1e-9:
        return Interval(value, low, high)
    share = between / (between + images)
    quantile = share * stats.t.ppf(0.975, seeds - 1) + (1 - share) * stats.norm.ppf(0.975)
    factor = 2 * quantile * np.sqrt(between + images) / (high - low)
    return Interval(value, value + factor * (low - value), value + factor * (high - value))


@pytest.mark.parametrize("seeds", [1, 2, 10])
def test_intervals_of_many_statistics_are_those_of_each(seeds: int) -> None:
    """Among them one that is infinite for a seed, one that is so in some resamples, one that does
    not exist in some, and one that is the same for all seeds."""
    rng = np.random.default_rng(3)
    resamples = Resamples(40, replicates=200)
    values = rng.gamma(2.0, 3.0, (6, seeds, 40))
    values[4] = values[4, :1]
    per_seed = values.mean(2)
    boot = resamples.means(values.reshape(-1, 40)).reshape(200, 6, seeds)
    per_seed[1, 0] = boot[:, 1, 0] = np.inf
    boot[:5, 2, 0] = np.inf
    boot[7:9, 3, 0] = np.nan
    found = intervals(per_seed, boot, resamples, (-np.inf, np.inf))
    for k, one in enumerate(found):
        there = ~np.isnan(boot[:, k]).any(1) | (resamples.seeds(seeds)[:, 0] == 0)
        wanted = by_definition(per_seed[k], boot[there, k], resamples.seeds(seeds)[there])
        assert (one.value, one.low, one.high) == pytest.approx(
            (wanted.value, wanted.low, wanted.high), rel=1e-9
        )
        assert interval(per_seed[k], boot[:, k], resamples, (-np.inf, np.inf)) == one


@given(arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 60))))
@settings(max_examples=30)
def test_marked_images_are_counted_exactly(marks: np.ndarray) -> None:
    resamples = Resamples(marks.shape[1], replicates=20)
    wanted = drawn(resamples, 20) @ marks.T.astype(int)
    assert (resamples.counts(marks) == wanted).all()


@given(
    arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 30)), elements=st.floats(0, 100))
)
@settings(max_examples=50)
def test_an_interval_holds_its_estimate_within_the_bounds(values: np.ndarray) -> None:
    found = mean_interval(values, Resamples(values.shape[1], replicates=200), (0.0, 100.0))
    assert found.value == pytest.approx(values.mean())
    slack = 1e-9 + 0.2 * np.ptp(values)  # a few images: percentiles may lie on one side
    assert 0.0 <= found.low <= found.value + slack
    assert found.value - slack <= found.high <= 100.0


def test_the_same_question_has_the_same_answer() -> None:
    values = np.random.default_rng(0).normal(size=(3, 60))
    first = mean_interval(values, Resamples(60))
    assert mean_interval(values, Resamples(60)) == first
    assert mean_interval(values, Resamples(60, seed=1)) != first


def test_networks_are_compared_image_by_image() -> None:
    """What two networks share cancels: their difference has a narrow interval."""
    rng = np.random.default_rng(0)
    hard = rng.normal(size=200) * 10
    resamples = Resamples(200)
    one, other = (hard + shift + 0.1 * rng.normal(size=(3, 200)) for shift in (1.0, 0.0))
    apart, paired = mean_interval(one, resamples), mean_interval(one - other, resamples)
    assert paired.high - paired.low < 0.05 * (apart.high - apart.low)
    per_seed = (one - other).mean(1)
    assert interval(
        per_seed, resamples.means(one) - resamples.means(other), resamples, (-np.inf, np.inf)
    ).low == pytest.approx(paired.low)


@pytest.mark.slow
def test_ten_thousand_images_take_seconds() -> None:
    import time

    rng = np.random.default_rng(0)
    l2 = rng.lognormal(1, 0.5, (4, 10_000))
    start = time.process_time()
    resamples = Resamples(10_000)
    mean_interval(np.minimum(l2, 5.0), resamples)
    median_interval(l2, resamples)
    assert time.process_time() - start < 10
