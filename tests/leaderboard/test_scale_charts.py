"""Which scale is vulnerable, and common corruptions: numbers and bar charts."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import leaderboard
from leaderboard import Results, Row
from leaderboard.figures.bars import corruption_figure, scale_figure
from leaderboard.figures.looks import png
from leaderboard.numbers.corruptions import Corrupted, corrupted, corruption_errors
from leaderboard.numbers.scales import Vulnerability, combinations, vulnerabilities, weakest

SEVEN = ("high", "medium", "low", "high+medium", "high+low", "medium+low", "high+medium+low")
FOUR = ("scale1", "scale2", "scale4", "scale8")
VALUES = dict(zip(SEVEN, (70.0, 40.0, 80.0, 35.0, 60.0, 30.0, 5.0), strict=True))


def named(combination: str) -> str:
    """As it is shown: all inputs of a network are just that."""
    return "all" if combination == SEVEN[-1] else combination


def perturbed(
    values: dict[str, float] = VALUES, variant: str = "td", attack: str = "spatial"
) -> Results:
    metrics = {"clean_top1": 90.0, **{f"perturbed_top1[{k}]": v for k, v in values.items()}}
    rows = [
        Row("d", "net", variant, seed, f"robustness/{attack}", metric, value + seed, "%")
        for seed in (0, 1)
        for metric, value in metrics.items()
    ]
    return Results("t", tuple(rows), {})


def test_accuracies_by_combination_over_seeds() -> None:
    (one,) = vulnerabilities(perturbed(), "d")
    assert (one.backbone, one.variant, one.attack) == ("net", "td", "spatial")
    assert one.clean is not None
    assert (one.clean.mean, one.clean.n) == (90.5, 2)
    assert {name: summary.mean for name, summary in one.perturbed.items()} == {
        named(name): value + 0.5 for name, value in VALUES.items()
    }
    assert combinations([one]) == [*SEVEN[:-1], "all"]
    assert weakest(one) == ["medium"]


def test_bottom_up_networks_and_other_data_sets_have_none() -> None:
    assert vulnerabilities(perturbed({}, "bu"), "d") == []
    assert vulnerabilities(perturbed(), "elsewhere") == []
    (only,) = vulnerabilities(perturbed({"high": 3.0}), "d")
    assert weakest(only) == []


def test_scales_that_look_alike_are_equally_vulnerable() -> None:
    (one,) = vulnerabilities(perturbed({"high": 70.0, "medium": 40.01, "low": 40.04}), "d")
    assert weakest(one) == ["medium", "low"]
    (one,) = vulnerabilities(perturbed({"high": 40.0, "medium": 40.01, "low": 40.04}), "d")
    assert weakest(one) == []


def test_of_many_scales_each_alone_and_all_are_shown() -> None:
    names = [*FOUR, "scale1+scale2", "scale1+scale2+scale4", "+".join(FOUR)]
    found = vulnerabilities(perturbed(dict.fromkeys(names, 50.0)), "d")
    assert combinations(found) == [*FOUR, "all"]


def test_scales_of_several_networks_come_in_the_order_of_their_numbers() -> None:
    coarse = perturbed(dict.fromkeys(("scale2", "scale4", "scale8", "scale16"), 50.0))
    fine = perturbed(dict.fromkeys(FOUR, 50.0), variant="td_uni")
    found = vulnerabilities(replace(coarse, rows=coarse.rows + fine.rows), "d")
    assert combinations(found) == [*FOUR, "scale16"]


def bar_widths(figure: Figure, panel: int) -> list[float]:
    return [float(patch.get_width()) for patch in figure.axes[panel].patches]


def test_bars_are_the_accuracies_and_lines_the_clean_one() -> None:
    results = perturbed()
    more = perturbed(dict.fromkeys(SEVEN, 55.0), attack="shifts")
    found = vulnerabilities(replace(results, rows=results.rows + more.rows), "d")
    figure = scale_figure("d", found, combinations(found))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        "high", "medium", "low", "all", "high + medium", "high + low", "medium + low",
    ]  # fmt: skip
    for panel, name in enumerate((*SEVEN[:3], SEVEN[-1], *SEVEN[3:6])):
        assert bar_widths(figure, panel) == [VALUES[name] + 0.5, 55.5]
        lines = figure.axes[panel].collections[-1].get_segments()
        assert {x for segment in lines for x, _ in segment} == {90.5}
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["Spatial", "Shifts"]
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == [
        "net · td", "clean accuracy",
    ]  # fmt: skip
    assert png(figure) == png(scale_figure("d", found, combinations(found)))


def test_networks_with_other_scales_share_a_figure() -> None:
    first, second = perturbed(), perturbed(dict.fromkeys(("high", "low", "high+low"), 1.0), "td2")
    found: list[Vulnerability] = vulnerabilities(replace(first, rows=first.rows + second.rows), "d")
    figure = scale_figure("d", found, combinations(found))
    assert len(bar_widths(figure, 0)) == 2
    assert len(bar_widths(figure, 1)) == 1
    # The clean accuracy of a network without that input is no measure for it.
    lines = [len(figure.axes[panel].collections[-1].get_segments()) for panel in (0, 1)]
    assert lines == [2, 1]
    assert png(figure)


def test_a_network_of_many_scales_takes_no_panel_from_others() -> None:
    many = dict.fromkeys([*FOUR, "scale1+scale2", "+".join(FOUR)], 50.0)
    rows = (*perturbed().rows, *perturbed(many, "td2").rows)
    found = vulnerabilities(replace(perturbed(), rows=rows), "d")
    assert combinations(found) == [*SEVEN[:3], *FOUR, *SEVEN[3:6], "all"]


def errors(table: dict[tuple[str, int], dict[str, list[float]]], backbone: str = "net") -> Results:
    """By variant and seed: errors of each corruption at rising severities."""
    rows = []
    for (variant, seed), corruptions in table.items():
        place = ("d", backbone, variant, seed, "corruptions")
        everything = [value for values in corruptions.values() for value in values]
        rows.append(Row(*place, "corruption_error", float(np.mean(everything)), "%"))
        rows.append(Row(*place, "clean_error", 1.0, "%"))
        for name, values in corruptions.items():
            rows.append(Row(*place, f"error[{name}]", float(np.mean(values)), "%"))
            rows += [
                Row(*place, f"error[{name}/{severity}]", value, "%")
                for severity, value in enumerate(values, 1)
            ]
    return Results("t", tuple(rows), {})


TABLE = {
    ("bu", 0): {"fog": [10.0, 30.0], "gaussian_noise": [20.0, 80.0]},
    ("bu", 1): {"fog": [20.0, 30.0], "gaussian_noise": [20.0, 20.0]},
    ("td", 0): {"fog": [10.0, 10.0], "gaussian_noise": [50.0, 50.0]},
    ("td", 1): {"fog": [10.0, 40.0], "gaussian_noise": [10.0, 10.0]},
}


def test_mce_is_the_mean_of_ratios_of_sums_by_seed() -> None:
    bu, td = corrupted(errors(TABLE), "d")
    assert (bu.variant, td.variant) == ("bu", "td")
    assert bu.mce is not None
    assert (bu.mce.mean, bu.mce.sd) == (100.0, 0.0)
    assert td.mce is not None
    # Seed 0: fog 20/40, noise 100/100; seed 1: fog 50/50, noise 20/40.
    assert td.mce.mean == pytest.approx((75.0 + 75.0) / 2)
    assert td.error.mean == pytest.approx((30.0 + 17.5) / 2)
    assert td.errors["fog"].mean == pytest.approx((10.0 + 25.0) / 2)
    assert corrupted(errors(TABLE), "elsewhere") == []


def one(table: dict[tuple[str, int], dict[str, list[float]]], variant: str = "td") -> Corrupted:
    return next(found for found in corrupted(errors(table), "d") if found.variant == variant)


def test_mce_takes_the_seeds_that_both_have() -> None:
    found = one({key: TABLE[key] for key in (("bu", 1), ("td", 0), ("td", 1))})
    assert found.mce is not None
    assert (found.mce.mean, found.mce.n) == (75.0, 1)
    assert found.error.n == 2


def test_the_page_says_of_how_many_seeds_an_mce_is(tmp_path: Path) -> None:
    some = errors({key: TABLE[key] for key in (("bu", 1), ("td", 0), ("td", 1))})
    for found, cell in ((some, "75.0 (n = 1)"), (errors(TABLE), "75.0 ± 0.0")):
        text = leaderboard.render_markdown(found, tmp_path).read_text(encoding="utf-8")
        page = text.replace("\N{NO-BREAK SPACE}", " ")
        (line,) = [line for line in page.splitlines() if line.endswith(f" | {cell} |")]
        assert line.startswith("| net | td | 2 |")


@pytest.mark.parametrize(
    "baseline",
    [
        {},
        {("bu", 2): TABLE["bu", 0]},
        {("bu", 0): {"fog": [10.0, 30.0]}},
        {("bu", 0): {"fog": [10.0], "gaussian_noise": [20.0]}},
        {("bu", 0): {"fog": [0.0, 0.0], "gaussian_noise": [20.0, 80.0]}},
    ],
)
def test_without_a_like_baseline_there_is_no_mce(
    baseline: dict[tuple[str, int], dict[str, list[float]]],
) -> None:
    assert one(baseline | {("td", 0): TABLE["td", 0]}).mce is None


def test_another_backbones_bottom_up_network_is_no_baseline() -> None:
    mine, other = errors({("td", 0): TABLE["td", 0]}), errors({("bu", 0): TABLE["bu", 0]}, "other")
    found = corrupted(replace(mine, rows=mine.rows + other.rows), "d")
    assert [network.mce is None for network in found] == [True, False]


@given(st.lists(st.floats(0.1, 100), min_size=5, max_size=5), st.floats(0.1, 3))
def test_relative_errors_scale(severities: list[float], factor: float) -> None:
    baseline = {"fog": {str(n): value for n, value in enumerate(severities)}}
    scaled = {"fog": {name: factor * value for name, value in baseline["fog"].items()}}
    found = corruption_errors(scaled, baseline)
    assert found is not None
    assert math.isclose(found["fog"], 100 * factor)


def test_bars_are_the_errors() -> None:
    found = corrupted(errors(TABLE), "d")
    figure = corruption_figure("d", found)
    assert bar_widths(figure, 0) == [22.5, 35.0, 17.5, 30.0]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["Fog", "Gaussian noise"]
    hatches = {patch.get_hatch() for patch in figure.axes[0].patches}
    assert len(hatches) == 2  # told apart without colour
    assert png(figure) == png(corruption_figure("d", found))
