"""Figures of boards with many networks: the best are drawn, and the rest is counted."""

from __future__ import annotations

import gc
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest
from synthetic_results import results

from leaderboard import Results, Row, page, render_markdown
from leaderboard.numbers.board import sections
from leaderboard.numbers.robustness import FEWER, MANY, summaries
from leaderboard.results import Learned
from leaderboard.sections.drawn import MOST, Order, order, together

pytestmark = pytest.mark.usefixtures("drawn_once")
BACKBONES = tuple(f"n{number:02d}" for number in range(15))  # two variants each: 30 networks
CROWD = tuple(f"m{number}" for number in range(MANY + 1))


def board(backbones: Sequence[str] = BACKBONES, datasets: Sequence[str] = ("mini",)) -> Results:
    return results(datasets, backbones, attacks=("shifts", "spatial"), images=12)


def with_more(found: Results) -> Results:
    """As if every network had been trained, attacked at two scale inputs and shown corrupted
    images."""
    rows = [
        Row(row.dataset, row.backbone, row.variant, row.seed, measure, metric, 50.0, "%")
        for row in found.rows
        if row.metric == "top1"
        for measure, metric in (
            ("robustness/shifts", "perturbed_top1[high]"),
            ("robustness/shifts", "perturbed_top1[low]"),
            ("corruptions", "error[fog/1]"),
        )
    ]
    learned = tuple(
        Learned(row.dataset, row.backbone, row.variant, row.seed, (2.0, 1.0), (50.0, 60.0))
        for row in found.rows
        if row.metric == "top1"
    )
    return replace(found, rows=(*found.rows, *rows), learned=learned)


def best(found: Results, count: int) -> set[str]:
    """The names of the networks of the highest mean accuracy, straight from the rows."""
    values: dict[str, list[float]] = {}
    for row in found.rows:
        if row.metric == "top1":
            values.setdefault(f"{row.backbone} · {row.variant}", []).append(row.value)
    return {*sorted(values, key=lambda name: -mean(values[name]))[:count]}


def named(figure: Path) -> set[str]:
    """The networks in a figure's legend."""
    return {*re.findall(r"n\d\d · td|n\d\d · bu", figure.read_text(encoding="utf-8"))}


def test_of_thirty_networks_the_best_are_drawn_and_the_rest_is_counted(tmp_path: Path) -> None:
    found = with_more(board())
    page = render_markdown(found, tmp_path, svg=True).read_text(encoding="utf-8")
    said = "Of 30 networks, the 12 best by Top-1 are drawn and 18 left out"
    figures = {path.stem: named(path) for path in (tmp_path / "figures").glob("*.svg")}
    drawn = {name: nets for name, nets in figures.items() if not name.startswith("accuracy")}
    assert set(drawn) == {"mini", "mini-scales", "mini-corruptions", "mini-training"}
    assert page.count(said) == len(drawn)
    wanted = best(found, 12)
    assert all(nets == wanted for nets in drawn.values())
    # The tables have all of them, and so have the bars of accuracy.
    assert page.count("| Shifts, B =") == 30
    assert len(figures["accuracy"]) == 30


def test_of_fifteen_backbones_memory_by_depth_draws_those_of_the_best_networks(
    tmp_path: Path,
) -> None:
    found = board()
    kept = [
        Row(row.dataset, row.backbone, row.variant, row.seed, "efficiency", metric, 4096.0, "B")
        for row in found.rows
        if row.metric == "top1"
        for metric in ("kept_bytes[depth 1]", "kept_bytes[depth 2]")
    ]
    page = render_markdown(replace(found, rows=(*found.rows, *kept)), tmp_path, svg=True)
    text = page.read_text(encoding="utf-8")
    assert (
        "Of 15 backbones, the 12 with the best networks by Top-1 are drawn and 3 left out" in text
    )
    drawn = {name[:3] for name in named(tmp_path / "figures/mini-memory-by-depth.svg")}
    ranked = dict.fromkeys(net[0] for net in order(found, sections(found)[0]).nets)
    assert drawn == {*list(ranked)[:12]}


def test_a_dozen_networks_are_all_drawn_and_nothing_is_said(tmp_path: Path) -> None:
    found = board(BACKBONES[:6])
    page = render_markdown(found, tmp_path, svg=True).read_text(encoding="utf-8")
    assert "left out:" not in page
    assert named(tmp_path / "figures/mini.svg") == best(found, 12)


def test_several_data_sets_share_the_networks_of_the_best_mean_place(tmp_path: Path) -> None:
    found = board(BACKBONES[:8], ("one", "two"))
    page = render_markdown(found, tmp_path, svg=True).read_text(encoding="utf-8")
    assert "Of 16 networks, the 12 best by mean place in Top-1 are drawn and 4 left out" in page
    orders = [order(found, section) for section in sections(found)]
    places = {
        f"{net[0]} · {net[1]}": sum(one.nets.index(net) for one in orders) for net in orders[0].nets
    }
    drawn = named(tmp_path / "figures/attacks-on-all-data-sets.svg")
    assert len(drawn) == 12
    assert max(places[name] for name in drawn) <= min(
        place for name, place in places.items() if name not in drawn
    )


def test_where_less_is_better_the_lowest_come_first() -> None:
    found = board()
    metrics = {("accuracy", "top1"): replace(found.metrics["accuracy", "top1"], better="lower")}
    (section,) = sections(replace(found, metrics=metrics))
    higher = order(found, sections(found)[0]).nets
    assert order(found, section).nets == higher[::-1]


def test_what_has_no_value_comes_last() -> None:
    found = board()
    rows = [row for row in found.rows if (row.backbone, row.metric) != ("n14", "top1")]
    (section,) = sections(replace(found, rows=tuple(rows)))
    ranked = order(replace(found, rows=tuple(rows)), section)
    assert ranked.nets[-2:] == (("n14", "bu"), ("n14", "td"))
    assert len(ranked.nets) == 30


def test_without_a_number_to_rank_by_the_first_are_drawn() -> None:
    nets = [(f"n{number}", "bu") for number in range(20)]
    pick = Order("", tuple(nets)).pick(nets)
    assert pick.nets == tuple(nets[:MOST])
    assert pick.note.startswith("Of 20 networks, the first 12 are drawn and 8 left out")


def test_a_network_of_one_data_set_stands_behind_those_of_both() -> None:
    a, b, c = ("a", "bu"), ("b", "bu"), ("c", "bu")
    found = together([Order("Top-1", (a, b, c)), Order("Top-1", (b, a))])
    assert (found.title, found.nets) == ("mean place in Top-1", (a, b, c))


@pytest.mark.parametrize("fails", [False, True])
def test_the_garbage_collector_is_left_as_it_was(
    tmp_path: Path, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_MANY", 1)
    gc.unfreeze()  # what the tests' own start has frozen
    found = board(BACKBONES[:1])
    if fails:  # the same sample twice
        found = replace(found, samples=(*found.samples, found.samples[0]))
        with pytest.raises(ValueError, match="come twice"):
            render_markdown(found, tmp_path)
    else:
        render_markdown(found, tmp_path)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_intervals_of_many_networks_have_fewer_replicates_and_agree(tmp_path: Path) -> None:
    """A page says how many, and ends move by no more than chance lets them."""
    few = board(CROWD[:1])
    many = results(("mini",), CROWD, ("bu",), ("shifts",), seeds=(0,), images=12)
    for found, said in ((few, "(2,000 replicates"), (many, f"({FEWER} replicates")):
        text = render_markdown(found, tmp_path).read_text(encoding="utf-8")
        assert said in text
        assert render_markdown(found, tmp_path / "again").read_text(encoding="utf-8") == text
    assert len(many.samples) == MANY + 1
    larger = results(("mini",), attacks=("shifts", "spatial"), seeds=(0, 1, 2))
    whole, quick = (
        [e for one in summaries(larger.samples, "mini", {}, replicates=n) for e in one.estimates]
        for n in (2000, FEWER)
    )
    moved = [
        abs(mine - theirs) / (a.high - a.low)
        for one, other in zip(whole, quick, strict=True)
        for a, b in ((one.area, other.area), (one.clean, other.clean), (one.median, other.median))
        for mine, theirs in ((a.low, b.low), (a.high, b.high))
    ]
    # Standard errors of an end are 1.5 and 3 % of the width.
    assert math.sqrt(mean(one**2 for one in moved)) < 0.07
