import math
import statistics
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_results import metrics, results

from leaderboard import MetricInfo, Row, Summary, aggregate, summarize
from leaderboard.quantity import show

finite = st.floats(-1e12, 1e12)
plain = MetricInfo("t", decimals=2)
si = MetricInfo("t", decimals=1, scale="si")
size = MetricInfo("t", decimals=1, scale="bytes")


def row(seed: int, value: float, metric: str = "top1") -> Row:
    return Row("d", "b", "v", seed, "accuracy", metric, value, "%")


@given(st.lists(finite, min_size=2, max_size=20))
def test_agrees_with_numpy(values: list[float]) -> None:
    got = summarize(values)
    assert got.n == len(values)
    assert got.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-3)
    assert got.sd == pytest.approx(np.std(values, ddof=1), rel=1e-6, abs=1e-2)


@given(st.floats(-1e300, 1e300), st.integers(2, 9))
def test_equal_seeds_have_their_own_mean_and_no_deviation(value: float, n: int) -> None:
    assert summarize([value] * n) == Summary(value, 0.0, n)


@given(st.lists(st.floats(-1e300, 1e300), max_size=5), st.lists(st.just(math.inf), min_size=1))
def test_infinity_stays_infinite_without_a_warning(few: list[float], inf: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert summarize([*few, *inf]) == Summary(math.inf, None, len(few) + len(inf), len(inf))


def test_single_seed_has_no_deviation() -> None:
    assert summarize([3.5]) == Summary(3.5, None, 1)


def test_deviation_beyond_floats_is_infinite() -> None:
    assert summarize([1.7e308, -1.7e308]).sd == math.inf


def test_aggregate_groups_by_everything_but_the_seed() -> None:
    tidy = aggregate([row(0, 90.0), row(1, 92.0), row(0, 5.0, "loss")])
    assert tidy["d", "b", "v", "accuracy", "top1"] == Summary(91.0, statistics.stdev([90, 92]), 2)
    assert tidy["d", "b", "v", "accuracy", "loss"] == Summary(5.0, None, 1)


def test_a_seed_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="d/b/v/accuracy/top1: seed 0 comes twice"):
        aggregate([row(0, 90.0), row(0, 91.0)])


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_what_is_not_a_result_never_becomes_a_row(value: float) -> None:
    with pytest.raises(ValueError, match="d/b/v/seed0/accuracy top1"):
        row(0, value)


@pytest.mark.parametrize(
    ("mean", "sd", "info", "text"),
    [
        (91.204, 0.314, plain, "91.20 ± 0.31"),
        (91.204, None, plain, "91.20"),
        (91.2, 0.0, plain, "91.20 ± 0.00"),
        (-0.001, None, plain, "0.00"),
        (12345.678, None, plain, "12,345.68"),
        (2.5e20, None, plain, "2.50e+20"),
        (math.inf, None, plain, "∞"),
        (math.inf, None, si, "∞"),
        (7670, 0.0, si, "7.7 k"),
        (57846, None, si, "57.8 k"),
        (1_200_000, None, si, "1.2 M"),
        (999_949, None, si, "999.9 k"),
        (999_950, None, si, "1.0 M"),  # never 1000.0 k
        (512, None, si, "512"),
        (0, 0.0, si, "0"),
        (52_345.0, 321.0, si, "52.3 ± 0.3 k"),
        (3e30, None, si, "3,000,000,000,000.0 E"),
        (12.9e6, 0.0, size, "12.3 MiB"),
        (512, None, size, "512 B"),
        (1023.99, None, size, "1.0 KiB"),
        (7670, None, MetricInfo("t", decimals=3, scale="si"), "7.7 k"),
    ],
)
def test_quantities(mean: float, sd: float | None, info: MetricInfo, text: str) -> None:
    assert show(Summary(float(mean), sd, 3), info).text == text


@given(st.floats(0, 1e17), st.sampled_from([plain, si, size]))
def test_displayed_mean_is_what_the_text_says(value: float, info: MetricInfo) -> None:
    shown = show(Summary(value, None, 1), info)
    number, _, prefix = shown.text.partition(" ")
    factor = {"": 1.0, "B": 1.0}.get(prefix) or (
        1024.0 ** (1 + "KMGTP".index(prefix[0]))
        if prefix.endswith("iB")
        else 1000.0 ** (1 + "kMGTPE".index(prefix))
    )
    assert float(number.replace(",", "")) * factor == pytest.approx(shown.mean, rel=1e-12)
    assert shown.mean == pytest.approx(value, rel=0.06, abs=0.51)


@given(st.floats(1.0, 1e17), st.sampled_from([si, size]))
def test_scaled_numbers_stay_short(value: float, info: MetricInfo) -> None:
    limit = 1000.0 if info is si else 1024.0
    number = float(show(Summary(value, None, 1), info).text.partition(" ")[0].replace(",", ""))
    assert number < limit


def test_realistic_rows_aggregate_completely() -> None:
    tidy = aggregate(results().rows)
    assert {key[3:] for key in tidy} == set(metrics())
    assert {summary.n for summary in tidy.values()} == {2}
