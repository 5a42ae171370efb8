"""Curves as numbers: areas, medians, accuracies at budgets, and differences to bottom-up."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from synthetic_results import results

from leaderboard import AttackInfo, Sample
from leaderboard.numbers.aligned import align
from leaderboard.numbers.robustness import Summary, summaries

# One limit, whoever is looked at.
KNOWN = {"blur": AttackInfo("gradient", "L2", "iterative", (1.5,))}
distance = st.one_of(st.just(0.0), st.just(np.inf), st.floats(0.01, 50))


def sample(
    l2: list[float], seed: int = 0, variant: str = "bu", index: list[int] | None = None
) -> Sample:
    numbers = None if index is None else np.array(index)
    return Sample("d", "net", variant, seed, "blur", np.array(l2, dtype=np.float64), numbers)


def summary(*samples: Sample, info: AttackInfo | None = None) -> Summary:
    (only,) = summaries(samples, "d", {} if info is None else {"blur": info})
    return only


@given(arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 20)), elements=distance))
@settings(max_examples=20)
def test_area_is_the_integral_of_accuracy(l2: np.ndarray) -> None:
    found = summary(*(sample(row.tolist(), seed) for seed, row in enumerate(l2)))
    grid = (np.arange(4000) + 0.5) / 4000 * found.limit
    by_definition = 100 * (l2[None] > grid[:, None, None]).mean()
    (one,) = found.estimates
    assert one.area.value == pytest.approx(by_definition, abs=0.03)
    assert one.clean.value == pytest.approx(100 * (l2 > 0).mean())
    for share, at in zip((0.25, 0.5, 1.0), one.at, strict=True):
        budget = share * found.limit * (1 + 1e-5)
        assert at.value == pytest.approx(100 * (l2 > budget).mean())


def test_the_median_is_the_one_of_the_main_table() -> None:
    data = results(seeds=(0, 1, 2))
    for found in summaries(data.samples, "fashion-mnist-mini", {}):
        for one in found.estimates:
            rights = [
                np.sort(s.l2[s.l2 > 0])
                for s in data.samples
                if (s.attack, s.variant) == (found.attack, one.variant)
            ]
            wanted = float(np.mean([right[(len(right) - 1) // 2] for right in rights]))
            assert one.median.value == pytest.approx(wanted)
            assert one.median.low <= wanted <= one.median.high
            assert (one.seeds, one.images) == (3, 200)


def test_the_limit_is_the_strongest_epsilon_in_l2() -> None:
    one = sample([0.5000001, 2.0, 0.0, math.inf])
    found = summary(one, info=AttackInfo("gradient", "L2", "iterative", (0.25, 0.5)))
    assert found.limit == 0.5
    assert found.estimates[0].at[-1].value == 50.0
    # Epsilons in another norm say nothing about L2.
    assert summary(one, info=AttackInfo("gradient", "Linf", "iterative", (0.1,))).limit == 2.0


def test_none_or_all_of_a_few_images_leave_room() -> None:
    """All 50 images right, none of them standing at the limit, in two seeds: the truth may be
    another, as 0 of 50 images say. A median is no share of images."""
    info = AttackInfo("gradient", "L2", "iterative", (2.0,))
    (one,) = summary(*(sample([1.0] * 50, seed) for seed in (0, 1)), info=info).estimates
    room = 100 * (1 - 0.025 ** (1 / 50))
    assert (one.clean.value, one.clean.high) == (pytest.approx(100), 100)
    assert one.clean.low == pytest.approx(100 - room)
    assert (one.at[-1].value, one.at[-1].low, one.at[-1].high) == (0, 0, pytest.approx(room))
    assert (one.area.low, one.area.high) == pytest.approx((50 - room / 2, 50 + room / 2))
    assert (one.median.low, one.median.high) == (1, 1)
    (whole,) = summary(*(sample([math.inf] * 50, seed) for seed in (0, 1)), info=info).estimates
    assert (whole.area.low, whole.area.high) == (pytest.approx(100 - room), 100)
    assert (whole.median.low, whole.median.high) == (math.inf, math.inf)


def test_two_networks_that_are_never_fooled_may_differ() -> None:
    """On 50 images each; on others, one of them may be."""
    found = summary(*(sample([math.inf] * 50, 0, variant) for variant in ("bu", "td")))
    area, against = found.estimates[1].area, found.estimates[1].against
    assert against is not None
    assert (against.value, against.low) == (0, pytest.approx(area.low - 100))
    assert against.high == pytest.approx(100 - area.low)


def test_against_bottom_up_is_paired_by_seed_and_image() -> None:
    rng = np.random.default_rng(0)
    easy = rng.lognormal(0, 1, 300)
    bu = [sample((easy * (1 + 0.01 * seed)).tolist(), seed) for seed in range(3)]
    td = [sample((easy * (1.1 + 0.01 * seed)).tolist(), seed, "td") for seed in range(3)]
    first, second = summary(*bu, *td).estimates
    assert first.against is None
    assert second.against is not None
    assert second.against.value == pytest.approx(second.area.value - first.area.value)
    # The networks' own intervals overlap widely; image by image there is no doubt.
    assert second.area.low < first.area.high
    assert 0 < second.against.low <= second.against.value <= second.against.high


def test_without_a_bottom_up_network_there_is_no_difference() -> None:
    assert summary(sample([1.0, 2.0], variant="td")).estimates[0].against is None
    other_seed = summary(sample([1.0, 2.0]), sample([2.0, 3.0], 1, "td"))
    assert other_seed.estimates[1].against is None


def test_images_are_matched_by_their_number() -> None:
    aligned = align([sample([1, 2, 3], 1, index=[7, 8, 9]), sample([30, 10], 0, index=[9, 7])])
    assert (aligned.seeds, aligned.images) == ((0, 1), (7, 9))
    assert aligned.l2.tolist() == [[10, 30], [1, 3]]
    bu, td = sample([1, 5], index=[4, 6]), sample([2, 4], variant="td", index=[6, 4])
    found = summary(bu, td).estimates[1]
    assert found.against is not None
    assert found.against.value == pytest.approx(0.0)


@pytest.mark.parametrize("other", [sample([1], 0), sample([1], 1, index=[5])])
def test_what_cannot_be_matched_is_refused(other: Sample) -> None:
    with pytest.raises(ValueError, match="d/net/bu"):
        align([sample([1.0], 0), other])


def test_a_network_has_the_same_numbers_in_any_company() -> None:
    """Also beside networks of other seeds and images, and in another order."""
    several = results(backbones=("a", "b", "c"), attacks=("blur",), seeds=(0, 1, 2), images=50)
    samples = [
        replace(one, index=np.arange(50) + 10 * (one.backbone == "b")) for one in several.samples
    ]
    samples = [one for one in samples if (one.backbone, one.seed) != ("c", 2)]
    (together,) = summaries(samples[::-1], "fashion-mnist-mini", KNOWN)
    assert len(together.estimates) == 6
    for backbone in ("a", "b", "c"):
        own = [one for one in samples if one.backbone == backbone]
        (alone,) = summaries(own, "fashion-mnist-mini", KNOWN)
        for one in alone.estimates:
            (other,) = (
                e for e in together.estimates if (e.backbone, e.variant) == (backbone, one.variant)
            )
            assert other == one
