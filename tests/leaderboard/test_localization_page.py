"""Localization: comparisons on the same images, their intervals, the page and the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_results import results as other_results
from test_pages import Reader, read_markdown

import leaderboard
from bench.measures.localization import METRICS
from leaderboard import Localized, Results, Row
from leaderboard.blocks import Bullets, Grid
from leaderboard.figures.localization import bar_figure, sweep_figure
from leaderboard.kept import Kept
from leaderboard.numbers.bootstrap import (
    Interval,
    Resampled,
    Resamples,
    interval,
    resampled,
    resampled_interval,
)
from leaderboard.numbers.localization import (
    FIGURES,
    Comparison,
    compare,
    pixel_average_precision,
)
from leaderboard.numbers.pairing import verdict
from leaderboard.numbers.variants import against_baseline
from leaderboard.sections.localization import localization_blocks

STEPS = np.arange(21) / 20


def heatmaps(
    variant: str = "bu",
    seed: int = 0,
    images: int = 60,
    *,
    sharp: float = 0.5,
    accuracy: float = 0.9,
    item: str = "",
    backbone: str = "nin_light",
    dataset: str = "d",
    pixels: int = 100,
) -> Localized:
    """Heatmaps of noise, warmer on the object: the hardness and size of an image's object are the
    same for all networks."""
    shared = np.random.default_rng(7)
    own = np.random.default_rng([*map(ord, variant + item), seed])
    sharp += own.normal(0, 0.03)
    size = shared.integers(pixels // 10, pixels // 2, images)
    hard = shared.normal(0, 0.05, (images, 1))
    on_object = np.arange(pixels) < size[:, None]
    heat = own.normal(0.25 + sharp * on_object - hard, 0.2)
    above = heat[:, :, None] > STEPS
    tp, fp = (np.sum(above & part[:, :, None], axis=1) for part in (on_object, ~on_object))
    return Localized(
        dataset, backbone, variant, seed, np.arange(images), own.random(images) < accuracy,
        tp, fp, size[:, None] - tp, STEPS, 0.2, item,
    )  # fmt: skip


def data(*cells: Localized) -> Results:
    """With one metric of each, as any page is about data sets that have rows."""
    rows = tuple(
        Row(c.dataset, c.backbone, c.variant, c.seed, measure(c), "images", c.correct.sum(), "")
        for c in cells
    )
    return Results("t", rows, {}, localized=cells)


def measure(cell: Localized) -> str:
    return "localization" + ("/" if cell.item else "") + cell.item


def rows(cells: Sequence[Localized]) -> tuple[Row, ...]:
    """The metric rows as the measure gives them."""
    found = []
    for cell in cells:
        (one,) = compare(data(cell), cell.dataset, replicates=1)
        values = {name: of.summary.mean for name, of in one.networks[0].figures.items()}
        boxes = {"box_acc[0.3]": 90.0, "box_acc[0.5]": 60.0, "box_acc[0.7]": 30.0}
        values |= {"max_box_acc_v2": 60.0, **boxes, "pointing": 97.0, "threshold": 0.2}
        values |= {"images": float(one.images[0]), "undefined": 0.5}
        found += [
            Row(
                cell.dataset,
                cell.backbone,
                cell.variant,
                cell.seed,
                measure(cell),
                name,
                value,
                "%",
            )
            for name, value in values.items()
        ]
    return tuple(found)


def page_data(seeds: Sequence[int] = (0, 1, 2, 3), images: int = 300) -> Results:
    sharp = {"bu": 0.3, "td": 0.36}
    cells = [heatmaps(net, seed, images, sharp=sharp[net]) for net in sharp for seed in seeds]
    return replace(data(*cells), rows=rows(cells))


def cell(
    variant: str, seed: int, tp: Any, fp: Any, fn: Any, correct: Any = None, **more: Any
) -> Localized:
    """Counts by image, at one threshold or at several."""
    counts = {
        name: np.array(one).reshape(len(one), -1)
        for name, one in (("tp", tp), ("fp", fp), ("fn", fn))
    }
    n, steps = counts["tp"].shape
    right = np.ones(n, bool) if correct is None else np.array(correct)
    fields = {"index": np.arange(n), "thresholds": np.arange(1.0, steps + 1), "threshold": 1.0}
    return Localized("d", "net", variant, seed, correct=right, **{**counts, **fields, **more})


def one_comparison(*cells: Localized) -> Comparison:
    (found,) = compare(data(*cells), "d")
    return found


def means(found: Comparison, variant: str) -> dict[str, float]:
    (network,) = [one for one in found.networks if one.variant == variant]
    return {name: estimate.summary.mean for name, estimate in network.figures.items()}


def test_figures_by_hand() -> None:
    found = one_comparison(
        cell("bu", 0, [8, 1, 5], [2, 9, 5], [2, 9, 0], [True, True, False]),
        cell("td", 0, [6, 0, 5], [0, 0, 0], [4, 10, 0]),
    )
    assert (found.seeds, found.images, found.looked_at) == ((0,), (2,), 3)
    assert means(found, "bu") == pytest.approx(
        {
            "precision": 100 * 9 / 20, "recall": 100 * 9 / 20, "iou": 100 * 9 / 31,
            "precision_macro": 100 * (8 / 10 + 1 / 10) / 2,
            "recall_macro": 100 * (8 / 10 + 1 / 10) / 2,
            "iou_macro": 100 * (8 / 12 + 1 / 19) / 2,
            "pxap": 100 * 9 / 20 * 9 / 20,
        }
    )  # fmt: skip
    td = means(found, "td")
    assert [td["precision"], td["recall"], td["iou"]] == [100.0, 30.0, 30.0]
    # The image in which nothing is predicted has no precision, but a recall and an IoU of 0.
    assert [td["precision_macro"], td["recall_macro"], td["iou_macro"]] == [100.0, 30.0, 30.0]
    assert [network.empty for network in found.networks] == [(0,), (1,)]
    gaps = found.networks[1].figures["precision"].against
    assert gaps is not None
    assert gaps.value == 55.0
    assert all(estimate.against is None for estimate in found.networks[0].figures.values())


def test_pxap_ends_where_all_pixels_are_predicted() -> None:
    found = one_comparison(cell("bu", 0, [8], [2], [2], pixels=40))
    assert means(found, "bu")["pxap"] == pytest.approx(100 * (0.8 * 0.8 + 10 / 40 * 0.2))
    with pytest.raises(ValueError, match="counts are of more than the 11 pixels"):
        cell("bu", 0, [8], [2], [2], pixels=11)


def test_only_images_that_all_variants_get_right_count() -> None:
    right = [True, False, True], [True, True, False], [False, True, True]
    cells = [
        cell(variant, 0, [1, 2, 3], [1, 1, 1], [5, 5, 5], correct)
        for variant, correct in zip(("bu", "td", "td_rev"), right, strict=True)
    ]
    assert one_comparison(*cells[:2]).images == (1,)
    assert means(one_comparison(*cells[:2]), "td")["precision"] == 50.0
    assert one_comparison(cells[1]).images == (2,)
    none = one_comparison(*cells)
    assert none.images == (0,)
    assert all(not network.figures for network in none.networks)


def test_each_seed_has_its_own_images() -> None:
    found = one_comparison(
        cell("bu", 1, [1, 1], [0, 1], [1, 1]),
        cell("bu", 0, [1, 1], [0, 1], [1, 1], [True, False]),
        cell("td", 0, [2, 1], [0, 9], [0, 1]),
        cell("td", 1, [2, 0], [0, 2], [0, 2]),
        cell("td", 2, [0, 0], [2, 2], [2, 2]),
    )
    assert (found.seeds, found.images) == ((0, 1), (1, 2))
    estimate = found.networks[0].figures["precision"]
    assert estimate.summary.mean == pytest.approx((100 + 100 * 2 / 3) / 2)
    assert estimate.summary.n == 2
    assert means(found, "td")["precision"] == pytest.approx((100 + 50) / 2)


def test_rows_are_matched_by_the_images_numbers() -> None:
    bu = cell(
        "bu", 0, [1, 2, 3], [0, 0, 0], [9, 9, 9], [True, False, True], index=np.array([4, 2, 9])
    )
    td = cell("td", 0, [7, 5, 6], [1, 1, 1], [0, 0, 0], index=np.array([9, 8, 4]))
    found = one_comparison(bu, td)
    assert (found.images, found.looked_at) == ((2,), 2)
    assert means(found, "bu")["recall"] == pytest.approx(100 * 4 / 22)
    assert means(found, "td")["precision"] == pytest.approx(100 * 13 / 15)


@pytest.mark.parametrize("more", [{"index": np.array([7, 8])}, {"seed": 1}])
def test_what_cannot_be_paired_stands_alone(more: dict[str, object]) -> None:
    bu = cell("bu", 0, [1, 1], [0, 0], [1, 1])
    found = compare(data(bu, replace(bu, variant="td", **more)), "d")
    assert [[net.variant for net in one.networks] for one in found] == [["bu"], ["td"]]
    assert all(one.networks[0].figures["recall"].against is None for one in found)


def test_backbones_items_and_data_sets_are_kept_apart() -> None:
    cells = [
        heatmaps(variant, item=item, backbone=backbone, dataset=dataset)
        for dataset in ("d", "e")
        for backbone in ("a", "b")
        for item in ("act_3", "act_4")
        for variant in ("bu", "td")
    ]
    found = compare(data(*cells), "d")
    names = [(one.backbone, one.item, len(one.networks)) for one in found]
    assert names == [("a", "act_3", 2), ("a", "act_4", 2), ("b", "act_3", 2), ("b", "act_4", 2)]
    assert compare(data(*cells), "elsewhere") == []


def test_what_is_refused() -> None:
    bu = cell("bu", 0, [1], [0], [1])
    with pytest.raises(ValueError, match="d/net/bu/localization: seed 0 comes twice"):
        compare(data(bu, bu), "d")
    far = replace(bu, seed=1, index=np.array([5]))
    with pytest.raises(ValueError, match="have no image in common"):
        compare(data(bu, far), "d")
    other = replace(bu, variant="td", thresholds=np.array([2.0]), threshold=2.0)
    with pytest.raises(ValueError, match="net/td/localization: thresholds differ"):
        compare(data(bu, other), "d")


def test_an_image_without_an_object_does_not_count() -> None:
    found = one_comparison(cell("bu", 0, [3, 0], [1, 9], [0, 0]))
    assert found.images == (1,)
    assert means(found, "bu")["precision"] == 75.0


def test_a_seed_that_predicts_nothing_has_no_precision() -> None:
    cells = [
        cell("bu", 0, [1, 1], [1, 1], [1, 1]),
        cell("bu", 1, [1, 1], [1, 1], [1, 1]),
        cell("td", 0, [2, 1], [0, 0], [0, 1]),
        cell("td", 1, [0, 0], [0, 0], [2, 2]),
    ]
    td = one_comparison(*cells).networks[1]
    assert (td.figures["precision"].summary.n, td.figures["recall"].summary.n) == (1, 2)
    assert td.figures["precision"].against == Interval(50.0, 50.0, 50.0)
    assert td.empty == (0, 2)
    nothing = one_comparison(cells[3]).networks[0]
    assert "precision" not in nothing.figures
    assert nothing.figures["recall"].interval == Interval(0.0, 0.0, 0.0)


def test_pxap_by_hand() -> None:
    tp, predicted = np.array([10.0, 8.0, 4.0, 0.0]), np.array([40.0, 10.0, 4.0, 0.0])
    value = pixel_average_precision(tp, predicted, np.array(10.0))
    assert float(value) == pytest.approx(1.0 * 0.4 + 0.8 * 0.4 + 0.25 * 0.2)
    assert np.isnan(pixel_average_precision(0 * tp, predicted, np.array(0.0)))
    assert float(pixel_average_precision(tp, tp, np.array(10.0))) == pytest.approx(1.0)


@given(st.integers(0, 10**6), st.integers(2, 12))
@settings(max_examples=50)
def test_pxap_is_the_area_under_the_steps(seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    tp, fp = (np.sort(rng.integers(0, 50, steps))[::-1].astype(float) for _ in range(2))
    objects, area, recall = max(1.0, tp[0]), 0.0, 0.0
    for hit, wrong in zip(tp[::-1], fp[::-1], strict=True):
        if hit + wrong:
            area += hit / (hit + wrong) * (hit / objects - recall)
        recall = hit / objects
    found = float(pixel_average_precision(tp, tp + fp, np.array(objects)))
    assert found == pytest.approx(area)
    assert -1e-12 <= found <= 1 + 1e-12


def draws_of(resamples: Resamples) -> np.ndarray:
    """How often each image is in each resample."""
    return resamples.sums(np.eye(resamples.images)).astype(int)


def test_intervals_are_those_of_a_loop_over_resamples() -> None:
    """Every resample's images written out, and the figures computed from them anew."""
    cells = {
        (net, seed): heatmaps(net, seed, 25, accuracy=0.8, pixels=30)
        for net in ("bu", "td")
        for seed in (0, 1, 3)
    }
    resamples = Resamples(25, replicates=60)
    (found,) = compare(data(*cells.values()), "d", replicates=60)

    def figures(net: str, seed: int, images: np.ndarray) -> list[float]:
        one = cells[net, seed]
        images = images[(cells["bu", seed].correct & cells["td", seed].correct)[images]]
        tp, fp, fn = (part[images] for part in (one.tp, one.fp, one.fn))
        hit, wrong, lost = tp[:, one.at], fp[:, one.at], fn[:, one.at]
        precision = np.array([t / (t + f) for t, f in zip(hit, wrong, strict=True) if t + f])
        curve = [(t.sum(), t.sum() + f.sum()) for t, f in zip(tp.T, fp.T, strict=True)]
        area, before = 0.0, 0.0
        for right, all_of_them in reversed(curve):
            recall = right / (hit + lost).sum()
            area += right / max(1, all_of_them) * (recall - before)
            before = recall
        return [
            hit.sum() / (hit + wrong).sum(), hit.sum() / (hit + lost).sum(),
            hit.sum() / (hit + wrong + lost).sum(), precision.mean(),
            (hit / (hit + lost)).mean(), (hit / (hit + wrong + lost)).mean(), area,
        ]  # fmt: skip

    def table(net: str) -> np.ndarray:
        everything = [np.ones(25, int), *draws_of(resamples)]
        return np.array(
            [
                [figures(net, seed, np.repeat(np.arange(25), counts)) for seed in (0, 1, 3)]
                for counts in everything
            ]
        )

    tables = {net: 100 * table(net) for net in ("bu", "td")}
    for network in found.networks:
        for number, name in enumerate(FIGURES):
            own, base = (tables[net][:, :, number] for net in (network.variant, "bu"))
            estimate = network.figures[name]
            wanted = interval(own[0], own[1:], resamples, (0.0, 100.0))
            assert ends(estimate.interval) == pytest.approx(ends(wanted))
            if network.variant == "td":
                assert estimate.against is not None
                gap = own - base
                wanted = interval(gap[0], gap[1:], resamples, (-100.0, 100.0))
                assert ends(estimate.against) == pytest.approx(ends(wanted))


def ends(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 12))
@settings(max_examples=40)
def test_ratios_of_resampled_sums(seed: int, seeds: int, images: int) -> None:
    """Of any images, also where a resample has no denominator."""
    rng = np.random.default_rng(seed)
    tables = [rng.integers(0, 3, (2, images)).astype(float) for _ in range(seeds)]
    resamples = Resamples(images, replicates=20)
    found = resampled(lambda sums: {"ratio": divided(sums)}, tables, resamples)["ratio"]
    for number, (part, whole) in enumerate(tables):
        for row, counts in enumerate(draws_of(resamples)):
            one = np.repeat(np.arange(images), counts)
            wanted = divided(np.array([[part[one].sum(), whole[one].sum()]]))[0]
            np.testing.assert_allclose(found.replicates[row, number], wanted)
    np.testing.assert_allclose(found.per_seed, [divided(t.sum(1)[None])[0] for t in tables])
    mean = resampled_interval(found, resamples)
    if mean is None:
        assert np.isnan(found.per_seed).all()
    else:
        assert mean.value == pytest.approx(np.nanmean(found.per_seed))
        assert not np.isnan([mean.low, mean.high]).any()


def divided(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(
            sums[:, 1] > 0, sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], 1), np.nan
        )


def test_without_any_resample_an_interval_is_all_there_can_be() -> None:
    found = Resampled(np.array([0.5]), np.full((20, 1), np.nan))
    resamples = Resamples(3, replicates=20)
    assert resampled_interval(found, resamples, (0.0, 1.0)) == Interval(0.5, 0.0, 1.0)


def test_variants_are_compared_image_by_image() -> None:
    found = one_comparison(*(heatmaps(net, seed, 120) for net in ("bu", "td") for seed in (0, 1)))
    td = found.networks[1].figures["precision"]
    assert td.against is not None
    assert td.against.high - td.against.low < 0.5 * (td.interval.high - td.interval.low)


def test_networks_that_are_the_same_do_not_differ() -> None:
    bu = [heatmaps("bu", seed) for seed in (0, 1)]
    found = one_comparison(*bu, *(replace(one, variant="td") for one in bu))
    for estimate in found.networks[1].figures.values():
        assert estimate.against == Interval(0.0, 0.0, 0.0)
        assert verdict(estimate.against) == "inconclusive"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.1, 2, "higher"), (-2, -0.1, "lower"), (-0.1, 2, "inconclusive"), (0, 1, "inconclusive")],
)
def test_a_verdict_needs_an_interval_without_zero(low: float, high: float, said: str) -> None:
    assert verdict(Interval((low + high) / 2, low, high)) == said


def test_the_sweep_has_the_figures_of_each_threshold() -> None:
    cells = [heatmaps("bu", seed) for seed in (0, 1, 2)]
    (network,) = one_comparison(*cells).networks
    for at, step in enumerate(STEPS):
        again = [replace(one, threshold=float(step)) for one in cells]
        (other,) = compare(data(*again), "d", replicates=10)[0].networks
        for name, mean, sd in (
            ("precision", network.sweep.precision, network.sweep.precision_sd),
            ("recall", network.sweep.recall, network.sweep.recall_sd),
        ):
            assert mean[at] == pytest.approx(other.figures[name].summary.mean)
            assert sd[at] == pytest.approx(other.figures[name].summary.sd)


def test_a_sweep_ends_where_nothing_is_predicted() -> None:
    first = cell("bu", 0, [[2, 1]], [[1, 0]], [[0, 1]])
    second = cell("bu", 1, [[2, 0]], [[1, 0]], [[0, 2]])
    sweep = one_comparison(first, second).networks[0].sweep
    assert sweep.precision[0] == pytest.approx(100 * 2 / 3)
    assert np.isnan(sweep.precision[1])
    assert sweep.recall.tolist() == [100.0, 25.0]
    assert one_comparison(first).networks[0].sweep.recall_sd.tolist() == [0.0, 0.0]


def covered(seeds: int, between: float, runs: int, images: int = 80) -> tuple[float, float]:
    """How often the interval of micro precision, and of its difference between two networks, holds
    the truth. A ratio of sums: sizes differ by image, seeds by `between`, and which images are
    classified correctly by both networks and seeds."""
    rng = np.random.default_rng(5)
    truth = {"bu": 0.6, "td": 0.65}
    held = np.zeros(2)
    for _ in range(runs):
        hard = rng.normal(0, 0.08, images)
        size = rng.integers(20, 200, images)
        cells = []
        for net, mean in truth.items():
            for seed in range(seeds):
                rate = mean + between * rng.normal() + hard + rng.normal(0, 0.05, images)
                tp = rng.binomial(size, np.clip(rate, 0, 1))
                right = rng.random(images) < 0.9
                cells.append(cell(net, seed, tp, size - tp, 0 * size + 1, right))
        (found,) = compare(data(*cells), "d", replicates=400)
        td = found.networks[1].figures["precision"]
        assert td.against is not None
        held += [holds(td.interval, 65.0), holds(td.against, 5.0)]
    share = held / runs
    return float(share[0]), float(share[1])


def holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "between"), [(1, 0.0), (3, 0.02), (4, 0.02), (4, 0.1)])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds: int, between: float) -> None:
    mean, gap = covered(seeds, between, runs=400)
    assert 0.9 <= mean <= 0.995
    assert 0.9 <= gap <= 0.995


GOOD = {
    "index": np.arange(2), "correct": np.array([True, False]), "tp": np.array([[3, 1], [2, 2]]),
    "fp": np.array([[1, 1], [4, 0]]), "fn": np.array([[0, 2], [1, 1]]),
    "thresholds": np.array([0.1, 0.2]), "threshold": 0.2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"thresholds": np.array([0.2, 0.2])}, "rising"),
        ({"thresholds": np.zeros((1, 2))}, "rising"),
        ({"thresholds": np.array([0.1, np.nan])}, "rising"),
        ({"threshold": 0.15}, "threshold 0.15 is not one"),
        ({"threshold": float("nan")}, "threshold nan is not one"),
        ({"index": np.array([4, 4])}, "each once"),
        ({"index": np.arange(3)}, "correct must have"),
        ({"correct": np.array([1, 0])}, "correct must have a bool"),
        ({"tp": np.array([[3, 1]])}, "tp must have"),
        ({"fp": np.array([[1, 1], [4, -1]])}, "fp must have"),
        ({"fn": np.array([[0, 2], [1, 3]])}, "the same at every threshold"),
        ({"fp": np.array([[1, 2], [4, 0]])}, "cannot predict more"),
        ({"tp": np.array([[1, 3], [2, 2]]), "fn": np.array([[2, 0], [1, 1]])}, "cannot predict"),
    ],
)
def test_counts_that_cannot_be_are_refused(change: dict[str, object], said: str) -> None:
    assert Localized("d", "net", "bu", 0, **GOOD, item="act_4").at == 1
    with pytest.raises(ValueError, match=f"d/net/bu/seed0/localization/act_4: .*{said}"):
        Localized("d", "net", "bu", 0, **{**GOOD, **change}, item="act_4")


def markdown(data: Results, folder: Path) -> str:
    return leaderboard.render_markdown(data, folder).read_text("utf-8").replace("\u00a0", " ")


def test_the_page_has_verdicts_tables_and_figures(tmp_path: Path) -> None:
    results = page_data(images=80)
    found = one_comparison(*results.localized)
    page = read_markdown(text := markdown(results, tmp_path))
    counts = ", ".join(
        f"{n} (seed {seed})" for seed, n in zip(found.seeds, found.images, strict=True)
    )
    assert f"- **nin_light**: bu and td are compared on {counts} of 80 images" in text
    td = found.networks[1].figures["precision"]
    assert td.against is not None
    heads = [line for line in page.lines if "Precision, micro ↑ (%)" in line]
    assert heads[0][:6] == [
        "Backbone", "Variant", "Seeds (n)", "Images per seed", "Precision, micro ↑ (%)",
        "… against bu (points)",
    ]  # fmt: skip
    line = page.lines[page.lines.index(heads[0]) + 2]
    low, high = min(found.images), max(found.images)
    assert line[:4] == ["nin_light", "td", "4", f"{low} to {high}"]
    mean, ends = td.summary, td.interval
    assert line[4] == f"{mean.mean:.1f} ± {mean.sd:.1f} [{ends.low:.1f}, {ends.high:.1f}]"
    gap = td.against
    assert line[5] == f"{gap.value:+.1f} [{gap.low:+.1f}, {gap.high:+.1f}]"
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert images == ["figures/d-localization.png", "figures/d-localization-thresholds.png"]
    assert all((tmp_path / str(name)).stat().st_size > 5000 for name in images)
    unpaired = page.lines[page.lines.index(heads[1]) + 1]
    assert len(unpaired) == 17
    assert unpaired[-6:] == [
        "60.0 ± 0.0",
        "90.0 ± 0.0",
        "60.0 ± 0.0",
        "30.0 ± 0.0",
        "97.0 ± 0.0",
        "0.5 ± 0.0",
    ]
    assert "Box accuracy, IoU 0.3 ↑ (%)" in heads[1]


def test_html_says_the_same_and_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    results = page_data((0, 1), images=30)
    text = markdown(results, tmp_path / "a")
    assert text == markdown(results, tmp_path / "b")
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.*")} for name in "ab"
    )
    assert first == second
    assert len(first) == 3
    page = Reader(leaderboard.render_html(results, tmp_path / "x.html").read_text("utf-8"))
    assert page.open == []
    assert page.lines == read_markdown(text).lines
    assert len(page.lines) == 3 * 5


def shifted(variant: str, points: Sequence[float]) -> list[Localized]:
    """A network for each precision; recall is 50 % for all of them."""
    return [
        cell(variant, seed, [10 * p] * 6, [1000 - 10 * p] * 6, [10 * p] * 6)
        for seed, p in enumerate(map(round, points))
    ]


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([60, 61, 62], "precision higher by 10.0 points [10.0, 10.0]; recall inconclusive, +0.0"),
        ([41, 41, 42], "precision lower by 9.7 points [7.8, 10.6]"),
        ([60, 41, 62], "precision inconclusive, +3.3 [-"),
    ],
)
def test_verdicts_in_words(points: Sequence[float], said: str) -> None:
    entries = bullets(data(*shifted("bu", [50, 51, 52]), *shifted("td", points)))
    assert entries[0] == (
        "net",
        "bu and td are compared on 6 (seed 0), 6 (seed 1), 6 (seed 2) of 6 images",
    )
    assert entries[1][0] == "net td against bu"
    assert entries[1][1].startswith(said)


def bullets(data: Results) -> tuple[tuple[str, str], ...]:
    """What is said in words, without drawing."""
    return next(
        b.entries for b in localization_blocks(data, "d", set(), Kept()) if isinstance(b, Bullets)
    )


def test_a_verdict_that_rests_on_one_of_several_seeds_says_so() -> None:
    """Where no image is classified correctly by both, a seed has nothing to tell."""
    bu, td = shifted("bu", [50, 51, 52]), shifted("td", [60, 61, 62])
    lost = [replace(one, correct=np.zeros_like(one.correct)) for one in td[1:]]
    entries = bullets(data(*bu, td[0], *lost))
    assert "6 (seed 0), 0 (seed 1), 0 (seed 2)" in entries[0][1]
    clauses = entries[1][1].split("; ")
    assert clauses[0].startswith("precision higher by 10.0 points")
    assert all(one.endswith(" (one seed: nothing is known of others)") for one in clauses)
    some = bullets(data(*bu, *td[:2], *lost[1:]))
    assert "one seed" not in some[1][1]


def test_a_macro_figure_that_says_otherwise_is_told() -> None:
    """One huge image decides about all pixels, five small ones about the mean over images."""
    bu = cell("bu", 0, [900] + 5 * [5], [100] + 5 * [5], [0] + 5 * [5])
    td = cell("td", 0, [880] + 5 * [9], [120] + 5 * [1], [20] + 5 * [1])
    _, (name, said) = bullets(data(bu, td))
    assert name == "net td against bu"
    assert said.startswith("precision inconclusive, +0.0 [-")
    assert "; but precision as mean over images higher by 33.0 points [" in said
    assert said.endswith("] (one seed: nothing is known of others)")


def test_a_network_alone_is_shown_without_a_verdict() -> None:
    results = data(*(heatmaps("td", seed, 30) for seed in (0, 1)))
    ((name, said),) = bullets(results)
    assert name == "nin_light"
    assert said.startswith("td alone, on ")
    grids = [
        block
        for block in localization_blocks(results, "d", set(), Kept())
        if isinstance(block, Grid)
    ]
    assert [len(grid.lines[0]) for grid in grids[:3]] == [6, 7, 7]
    assert not any("against bu" in title for grid in grids for title in grid.numbers)


def test_with_no_image_that_all_get_right_the_page_says_so() -> None:
    no, yes = np.zeros(30, bool), np.ones(30, bool)
    cells = [
        replace(heatmaps(net, images=30), correct=is_right)
        for net, is_right in (("bu", no), ("td", yes))
    ]
    blocks = [*localization_blocks(data(*cells), "d", set(), Kept())]
    (said,) = next(block.entries for block in blocks if isinstance(block, Bullets))
    assert said == ("nin_light", "bu and td are compared on 0 (seed 0) of 30 images")
    first = next(block for block in blocks if isinstance(block, Grid))
    assert [cell.text for cell in first.lines[1]] == ["nin_light", "td", "1", "0", "–", "–"]


def test_without_counts_of_pixels_there_are_the_metrics(tmp_path: Path) -> None:
    names = {"images": 50.0, "max_box_acc_v2": 61.0, "pointing": 80.0, "undefined": 0.0}
    rows = [
        Row("d", "net", "bu", seed, f"localization/{item}", name, value + seed, "%")
        for seed in (0, 1)
        for item in ("a|b", "act_4")
        for name, value in names.items()
    ]
    page = read_markdown(markdown(Results("t", tuple(rows), {}), tmp_path))
    assert [
        "net",
        "bu",
        "a|b",
        "2",
        "50 to 51",
        "61.5 ± 0.7",
        "80.5 ± 0.7",
        "0.5 ± 0.7",
    ] in page.lines
    assert not (tmp_path / "figures").exists()


def test_without_localization_there_is_no_section(tmp_path: Path) -> None:
    assert "Localization" not in markdown(other_results(images=20), tmp_path)


def test_hostile_names_keep_the_tables(tmp_path: Path) -> None:
    name = "x|y <b> `$*_\n[1]: a"
    cells = [
        heatmaps(variant, 0, 20, item=f"{name}2", backbone=name, dataset=name)
        for variant in ("bu", name)
    ]
    hostile = replace(data(*cells), rows=rows(cells))
    html = Reader(leaderboard.render_html(hostile, tmp_path / "x.html").read_text("utf-8"))
    assert html.open == []
    assert read_markdown(markdown(hostile, tmp_path)).lines == html.lines
    assert "Heatmap" in html.lines[-3]


def test_bars_are_precision_and_recall() -> None:
    found = compare(data(*shifted("bu", [50, 52]), *shifted("td", [60, 60])), "d")
    figure = bar_figure("d", found)
    widths = [[float(bar.get_width()) for bar in axes.patches] for axes in figure.axes]
    assert widths == [pytest.approx([51.0, 60.0]), pytest.approx([50.0, 50.0])]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["net · bu", "net · td"]
    assert len({bar.get_hatch() for bar in figure.axes[0].patches}) == 2
    whiskers = figure.axes[0].collections[0].get_segments()[0]
    assert np.ptp(whiskers[:, 0]) == pytest.approx(2 * np.std([50, 52], ddof=1))


def test_curves_are_the_sweep_with_the_threshold_marked() -> None:
    cells = [heatmaps(net, 0, 30, item=item) for item in ("act_3", "act_4") for net in ("bu", "td")]
    found = compare(data(*cells), "d", replicates=10)
    figure = sweep_figure("d", found)
    assert len(figure.axes) == 6
    bu, mark = figure.axes[2].lines[:2]
    sweep = found[0].networks[0].sweep
    np.testing.assert_array_equal(bu.get_xdata(), sweep.recall)
    np.testing.assert_array_equal(bu.get_ydata(), sweep.precision)
    assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (sweep.recall[4], sweep.precision[4])
    legend = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert legend == ["bu", "td", "threshold 0.2"]
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == [
        "nin_light · act_3",
        "nin_light · act_4",
    ]


def test_what_marking_everything_would_come_to_is_told() -> None:
    cells = [heatmaps(variant, seed) for variant in ("bu", "td") for seed in (0, 1)]
    known = [replace(cell, pixels=100) for cell in cells]
    (one,) = compare(Results("t", (), {}, localized=tuple(known)), "d")
    first = known[:2]
    right = [a.correct & b.correct for a, b in zip(known[:2], known[2:], strict=True)]
    objects = [(cell.tp + cell.fn)[:, 0] for cell in first]
    right = [which & (size > 0) for which, size in zip(right, objects, strict=True)]
    marked = sum(int(size[which].sum()) for size, which in zip(objects, right, strict=True))
    assert one.share == pytest.approx(marked / sum(int(which.sum()) for which in right))
    unknown = [replace(cell, pixels=None) for cell in cells]
    (other,) = compare(Results("t", (), {}, localized=tuple(unknown)), "d")
    assert other.share is None


def test_one_answer_to_one_question() -> None:
    """Precision is compared on common images; a second verdict, without them, could contradict."""
    metrics = {("localization", name): info for name, info in METRICS.items()}
    board = replace(page_data(seeds=(0, 1)), metrics=metrics)
    named = {one.key.metric for one in against_baseline(board)}
    alone = {one.key.metric for one in against_baseline(replace(board, localized=()))}
    assert "precision" in alone - named
    assert "max_box_acc_v2" in named
