"""The overview: a line for each network, families of attacks, costs, figures over all data sets."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_results import failure, missing, results
from test_pages import read_markdown

import leaderboard
from bench.measures import base
from leaderboard import AttackInfo, MetricInfo, Results, Row
from leaderboard.figures import bars
from leaderboard.numbers.board import Net
from leaderboard.numbers.pareto import Priced, front
from leaderboard.numbers.summary import Summary
from leaderboard.numbers.training import trainings
from leaderboard.results import Learned
from leaderboard.sections.memory_depth import profiles

FAMILIES = {"salt_and_pepper": "noise", "pointwise": "noise", "spatial": "spatial"}


pytestmark = pytest.mark.usefixtures("drawn_once")


def full(**more: object) -> Results:
    base = results(attacks=tuple(FAMILIES), images=60, seeds=(0, 1, 2))
    rows = [*base.rows]
    for row in base.rows:
        if row.metric == "peak_memory":
            rows.append(replace(row, metric="train_memory"))
        if row.metric == "flops":
            for depth in (1, 2, 3):
                rows.append(replace(row, metric=f"kept_bytes[depth {depth}]", value=1024.0 * depth))
    infos = {name: AttackInfo("decision", family=family) for name, family in FAMILIES.items()}
    learned = tuple(
        Learned(r.dataset, r.backbone, r.variant, r.seed, (2.0, 1.0, 0.5), (50.0, 70.0, 80.0))
        for r in base.rows
        if r.metric == "top1"
    )
    return replace(base, rows=tuple(rows), attacks=infos, learned=learned, **more)


def table(data: Results, folder: Path) -> list[list[str]]:
    page = leaderboard.render_markdown(data, folder).read_text("utf-8").replace("\u00a0", " ")
    lines = read_markdown(page).lines
    return lines[: len({(r.dataset, r.backbone, r.variant) for r in data.rows}) + 1]


def test_every_network_has_a_line(tmp_path: Path) -> None:
    head, bu, td = table(full(), tmp_path)
    assert head == [
        "Data set", "Backbone", "Variant", "Rank", "Seeds (n)", "Top-1 ↑ (%)", "95 % interval",
        "Noise: accuracy ↑ (%)", "Spatial: accuracy ↑ (%)",
        "FLOPs ↓ (× bu)", "Training memory ↓ (× bu)",
    ]  # fmt: skip
    assert bu[:3] == ["fashion-mnist-mini", "lenet_fc", "bu"]
    assert bu[4] == td[4] == "3"
    assert bu[9:] == ["1.00", "1.00"]
    assert td[9] == f"{14_452 / 7_670:.2f}"
    noise, gap = td[7].split()
    assert gap == f"({float(noise) - float(bu[7]):+.1f})" or abs(
        float(gap.strip("()")) - (float(noise) - float(bu[7]))
    ) < 0.11, "as rounded"  # fmt: skip


def test_a_family_is_the_mean_of_its_attacks(tmp_path: Path) -> None:
    """As the attacks' own table has them."""
    data = full()
    _, bu, _ = table(data, tmp_path)
    page = (tmp_path / "leaderboard.md").read_text("utf-8").replace("\u00a0", " ")
    rows = [line for line in read_markdown(page).lines if line[1:3] == ["lenet_fc", "bu"]]
    own = [float(line[5].split()[0]) for line in rows if line[0].split(",")[0] in NAMES]
    assert len(own) == 2
    assert float(bu[7]) == pytest.approx(sum(own) / 2, abs=0.11)


NAMES = ("Salt and pepper", "Pointwise")


def test_who_lacks_an_attack_has_no_mean_of_its_family(tmp_path: Path) -> None:
    data = full()
    lacking = tuple(s for s in data.samples if not (s.variant == "td" and s.attack == "pointwise"))
    _, bu, td = table(replace(data, samples=lacking), tmp_path)
    assert td[7] == "–"
    assert bu[7] != "–"
    assert td[8] != "–"


def test_differences_are_over_the_seeds_in_common_as_the_attack_table_has_them(
    tmp_path: Path,
) -> None:
    """An array of a seed can be lost; the other seeds of that network are then left."""
    data = full()
    hard = [s for s in data.samples if s.attack == "spatial"]
    lost = next(s for s in hard if s.variant == "bu" and s.seed == 1)
    easy = next(s for s in hard if s.variant == "td" and s.seed == 1)
    changed = {lost: None, easy: replace(easy, l2=easy.l2 * 9)}
    samples = tuple(s for one in data.samples if (s := changed.get(one, one)) is not None)
    _, bu, td = table(replace(data, samples=samples), tmp_path)
    page = (tmp_path / "leaderboard.md").read_text("utf-8").replace("\u00a0", " ")
    rows = [line for line in read_markdown(page).lines if line[0].startswith("Spatial, B")]
    assert [line[3] for line in rows] == ["2", "3"], "seeds"
    mean, gap = (rows[1][column].split()[0] for column in (5, 6))
    assert td[8] == f"{mean} ({gap})"
    assert bu[8] == f"{rows[0][5].split()[0]} (n = 2)", "fewer than the line's three"
    assert "(n = " not in bu[7] + td[7] + td[8]
    assert "a mean over fewer seeds than the line's" in page
    table(data, tmp_path)
    assert "fewer seeds than" not in (tmp_path / "leaderboard.md").read_text("utf-8")


def test_a_network_without_accuracy_is_listed_with_what_is_known(tmp_path: Path) -> None:
    data = full()
    rows = tuple(r for r in data.rows if (r.variant, r.measure) != ("td", "accuracy"))
    failures = tuple(failure(data, "accuracy", "RuntimeError: boom", seed=k) for k in (0, 1, 2))
    whole = table(data, tmp_path)
    _, bu, td = table(replace(data, rows=rows, failures=failures), tmp_path)
    assert bu[:3] + bu[4:] == whole[1][:3] + whole[1][4:]
    assert td[:7] == ["fashion-mnist-mini", "lenet_fc", "td", "–", "3", "failed", "–"]
    assert td[7:] == whole[2][7:], "attacks and costs as ever"
    page = (tmp_path / "leaderboard.md").read_text("utf-8")
    overview = page.partition("## Overview")[2].partition("\n## ")[0]
    said = "failed: its cells ended in an error, as listed at the end of the page"
    assert said in overview
    html = leaderboard.render_html(replace(data, rows=rows, failures=failures), tmp_path / "x.html")
    assert said in html.read_text("utf-8")


def test_a_network_whose_accuracy_was_not_measured_is_listed_too(tmp_path: Path) -> None:
    """But not one that nothing is known of."""
    data = full()
    rows = tuple(r for r in data.rows if (r.variant, r.measure) != ("td", "accuracy"))
    gone = (missing("accuracy", variant="td"), missing("accuracy", variant="td_uni"))
    *_, td = table(replace(data, rows=rows, missing=gone), tmp_path)
    assert td[3:7] == ["–", "3", "–", "–"]
    page = (tmp_path / "leaderboard.md").read_text("utf-8")
    overview = page.partition("## Overview")[2].partition("\n## ")[0]
    assert "–: not measured" in overview
    assert "td\\_uni" not in overview.replace("td_uni", "td\\_uni")


def test_a_failed_training_is_listed(tmp_path: Path) -> None:
    data = full()
    rows = tuple(r for r in data.rows if r.variant != "td")
    bad = replace(
        data,
        rows=rows,
        samples=tuple(s for s in data.samples if s.variant != "td"),
        learned=(),
        failures=(failure(data, "train", "RuntimeError: boom"),),
        missing=(missing("accuracy", variant="td"),),
    )
    page = leaderboard.render_markdown(bad, tmp_path).read_text("utf-8").replace("\u00a0", " ")
    _, _, td = read_markdown(page).lines[:3]
    assert td[2:] == ["td", "–", "0", "failed", *["–"] * 5]


def test_nothing_to_rank_by_is_no_overview(tmp_path: Path) -> None:
    base = results()
    rows = tuple(r for r in base.rows if r.metric == "top1_class_0")
    page = leaderboard.render_markdown(replace(base, rows=rows, samples=()), tmp_path)
    assert "Overview" not in page.read_text("utf-8")


@pytest.mark.usefixtures("drawn_anew")
def test_figures_are_there_and_as_svg_where_asked_for(tmp_path: Path) -> None:
    leaderboard.render_markdown(full(), tmp_path, svg=True)
    pictures = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert {
        "accuracy", "accuracy-against-cost", "fashion-mnist-mini-training",
        "fashion-mnist-mini-memory-by-depth",
    } <= pictures  # fmt: skip
    vectors = {path.stem: path.read_bytes() for path in (tmp_path / "figures").glob("*.svg")}
    assert set(vectors) == pictures
    assert all(b"<svg" in content[:600] for content in vectors.values())
    assert b"lenet_fc" in vectors["accuracy-against-cost"], "text is text"
    leaderboard.render_markdown(full(), tmp_path / "b", svg=True)
    again = {path.stem: path.read_bytes() for path in (tmp_path / "b/figures").glob("*.svg")}
    assert again == vectors


@pytest.mark.parametrize("endless", [("td",), ("bu", "td", "td_uni")])
def test_a_network_that_was_never_fooled_has_no_bar(
    endless: tuple[str, ...], tmp_path: Path
) -> None:
    """A suite with nothing but attacks, of which the median may be infinite."""
    rows = [row for row in full().rows if row.measure != "accuracy"]
    rows += [replace(row, variant="td_uni") for row in rows if row.variant == "bu"]
    rows = [
        replace(row, value=math.inf)
        if row.variant in endless and row.metric == "median_l2"
        else row
        for row in rows
    ]
    page = leaderboard.render_markdown(replace(full(), rows=tuple(rows)), tmp_path)
    text = page.read_text("utf-8")
    said = "Networks with no bar: infinite for fashion-mnist-mini lenet_fc td."
    assert (said in text) == (endless == ("td",))


def test_the_pareto_front_has_what_nobody_beats() -> None:
    def at(cost: float, mean: float) -> Priced:
        return Priced(Net("d", "b", f"{cost}-{mean}"), Summary(mean, None, 1), cost)

    cheap, dear, beaten, same = at(1, 80), at(5, 90), at(6, 85), at(5, 88)
    assert front([beaten, dear, cheap, same]) == (cheap, dear)
    assert front([cheap, dear, beaten], higher=False) == (cheap,)


def test_memory_is_read_by_depth() -> None:
    found = profiles(full(), "fashion-mnist-mini")
    assert found == {"lenet_fc": {v: [1024.0, 2048.0, 3072.0] for v in ("bu", "td")}}
    assert profiles(full(), "other") == {}


def test_trainings_of_one_epoch_have_no_curve() -> None:
    data = full()
    found = trainings(data.learned, "fashion-mnist-mini")
    assert {net: len(seeds) for net, seeds in found.items()} == {
        ("lenet_fc", "bu"): 3,
        ("lenet_fc", "td"): 3,
    }
    short = [replace(one, losses=(1.0,), validation=(None,)) for one in data.learned]
    assert trainings(short, "fashion-mnist-mini") == {}


def test_seeds_may_stop_early_and_have_nothing_held_out(tmp_path: Path) -> None:
    data = full()
    first, *rest = data.learned
    learned = (replace(first, losses=(2.0, 1.0), validation=(None, None)), *rest)
    leaderboard.render_markdown(replace(data, learned=learned), tmp_path)
    assert (tmp_path / "figures/fashion-mnist-mini-training.png").stat().st_size > 5000


def test_a_row_of_many_bars_is_left_to_the_tables(tmp_path: Path) -> None:
    base = results(attacks=(), seeds=(0,))
    rows = tuple(
        Row(r.dataset, f"net{k}", r.variant, r.seed, r.measure, r.metric, r.value, r.unit)
        for k in range(50)
        for r in base.rows
    )
    leaderboard.render_markdown(replace(base, rows=rows), tmp_path)
    assert not (tmp_path / "figures").exists()


@pytest.mark.usefixtures("drawn_anew")
def test_a_data_set_without_any_result_has_no_empty_axis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[str]] = []
    draw = bars.result_figure
    monkeypatch.setattr(
        bars,
        "result_figure",
        lambda heading, ranked, info: (drawn.append([*ranked]), draw(heading, ranked, info))[1],
    )
    data = results()
    gone = replace(data, missing=(missing("accuracy", dataset="never-reached"),))
    page = leaderboard.render_markdown(gone, tmp_path).read_text("utf-8")
    assert "## never-reached" in page
    assert drawn == [["fashion-mnist-mini"]]


def costs(**more: float) -> Results:
    """Efficiency and nothing else, of one seed."""
    infos = base.load("efficiency").metrics
    rows = [
        Row("d", "net", variant, 0, "efficiency", metric, value * (1 + number), "")
        for number, variant in enumerate(("bu", "td"))
        for metric, value in ({"parameters": 11_181_642.0, "flops": 3e8} | more).items()
    ]
    metrics = {(row.measure, row.metric): infos[row.metric] for row in rows}
    return Results("t", tuple(rows), metrics)


def test_a_board_of_costs_ranks_nothing_and_is_not_of_test_images(tmp_path: Path) -> None:
    page = leaderboard.render_markdown(costs(), tmp_path, svg=True).read_text("utf-8")
    head, bu, _ = read_markdown(page.replace("\u00a0", " ")).lines[:3]
    assert head == [
        "Data set", "Backbone", "Variant", "Seeds (n)", "Parameters ↓", "FLOPs ↓ (× bu)",
    ]  # fmt: skip
    assert bu == ["d", "net", "bu", "1", "11.2 M", "1.00"]
    own = page.partition("## Overview")[2].partition("## d")[0]
    for word in ("ank", "Bold", "interval", "test images", "figure 4", "accuracy", "seeds"):
        assert word not in own
    assert "Costs are multiples of the bu network of the same backbone." in own
    assert "*Parameters ↓ of each network on each data set.*" in own
    names = ("parameters", "parameters-against-cost")
    assert all(f"[{name}](figures/{name}.png)" in page for name in names)
    bars_text, priced = (
        (tmp_path / "figures" / f"{name}.svg").read_text("utf-8") for name in names
    )
    assert ">11.2 M<" in bars_text
    assert ">22.4 M<" in bars_text
    assert all(">Parameters ↓ (M)<" in text for text in (bars_text, priced))
    assert not any("1e7" in text or "11181642" in text for text in (bars_text, priced))


def test_costs_over_seeds_have_their_spread(tmp_path: Path) -> None:
    data = costs()
    more = tuple(replace(row, seed=1, value=1.1 * row.value) for row in data.rows)
    page = leaderboard.render_markdown(replace(data, rows=data.rows + more), tmp_path)
    text = page.read_text("utf-8")
    assert "Ranked within a data set by Parameters ↓." in text
    assert (
        "*Parameters ↓ of each network on each data set: mean over seeds, whiskers are one sample "
        "standard deviation; none for a single seed.*"
    ) in text


def test_bytes_are_drawn_in_their_unit(tmp_path: Path) -> None:
    data = costs(train_memory=12.5 * 2**20)
    rows = tuple(row for row in data.rows if row.metric == "train_memory")
    leaderboard.render_markdown(replace(data, rows=rows), tmp_path, svg=True)
    text = (tmp_path / "figures/training-memory.svg").read_text("utf-8")
    assert ">12.5 MiB<" in text
    assert ">Training memory ↓ (MiB)<" in text


def test_less_than_a_mebibyte_is_a_fraction_of_it_on_the_axis(tmp_path: Path) -> None:
    """Not 500 thousandths: "500 m" beside MiB."""
    data = costs(train_memory=0.3 * 2**20)
    leaderboard.render_markdown(data, tmp_path, svg=True)
    text = (tmp_path / "figures/parameters-against-cost.svg").read_text("utf-8")
    assert ">0.5<" in text
    assert " m<" not in text


def test_accuracy_of_one_seed_says_why_nothing_is_ranked(tmp_path: Path) -> None:
    data = results(attacks=(), seeds=(0,))
    page = leaderboard.render_markdown(data, tmp_path).read_text("utf-8")
    assert "Ranked within" not in page
    assert "Nothing is ranked: that takes two networks with an interval" in page
    assert "As figure 4 of the paper." in page


def test_seeds_that_are_equal_by_chance_are_told(tmp_path: Path) -> None:
    """One network of three: it has neither interval nor rank, and the page says why."""
    rows = [
        Row("d", "net", variant, seed, "accuracy", "top1", value, "%")
        for variant, seeds in {"bu": (86, 86), "td": (84, 85), "td_rev": (70, 71)}.items()
        for seed, value in enumerate(map(float, seeds))
    ]
    data = Results("t", tuple(rows), {("accuracy", "top1"): full().metrics["accuracy", "top1"]})
    head, bu, td, rev = table(data, tmp_path)
    places = [head.index(name) for name in ("Rank", "95 % interval")]
    assert [bu[place] for place in places] == ["–", "–"]
    assert (td[places[0]], rev[places[0]]) == ("1", "2")
    page = (tmp_path / "leaderboard.md").read_text("utf-8")
    told = (
        "Seeds that are equal by chance, as those of few images often are, tell nothing of others"
    )
    assert told in page
    html = leaderboard.render_html(data, tmp_path / "page.html").read_text("utf-8")
    assert told in html
    leaderboard.render_markdown(full(), tmp_path)
    assert told not in (tmp_path / "leaderboard.md").read_text("utf-8")


def test_medians_that_are_equal_by_chance_are_no_percentages(tmp_path: Path) -> None:
    rows = [
        Row("d", "net", variant, seed, "robustness/fgsm", "median_l2", value, "")
        for variant, seeds in {"bu": (0.5, 0.5), "td": (0.25, 0.3)}.items()
        for seed, value in enumerate(seeds)
    ]
    info = MetricInfo("median L2", "", "higher", 2, True)
    data = Results("t", tuple(rows), {("robustness/fgsm", "median_l2"): info})
    head, bu, td = table(data, tmp_path)
    places = [head.index(name) for name in ("Rank", "95 % interval")]
    assert [bu[place] for place in places] == ["–", "–"]
    assert td[places[1]].startswith("[")
    page = (tmp_path / "leaderboard.md").read_text("utf-8")
    assert "such a number has no interval and no rank" in page
    assert "percentage" not in page


@pytest.mark.parametrize("count", [2, 11, 12])
def test_a_shape_is_a_backbone_while_there_are_enough(tmp_path: Path, count: int) -> None:
    data = results(attacks=(), backbones=tuple(f"net{n}" for n in range(count)), seeds=(0,))
    page = leaderboard.render_markdown(data, tmp_path).read_text("utf-8")
    alone, shaded = (
        "A shape is a backbone, its filling",
        "A shape and its shade are a backbone, the",
    )
    assert (alone in page, shaded in page) == (count <= 11, count > 11)


def test_costs_that_were_not_measured_are_not_told_of(tmp_path: Path) -> None:
    page = leaderboard.render_markdown(results(attacks=()), tmp_path).read_text("utf-8")
    assert "Top-1 ↑ (%) against FLOPs]" in page
    own = page.partition("against cost")[2].partition("\n")[0]
    assert "floating-point operations" in own
    assert "memory" not in own


def test_medians_under_attack_are_not_the_papers_figure_of_accuracy(tmp_path: Path) -> None:
    rows = tuple(row for row in full().rows if row.measure.startswith("robustness"))
    page = leaderboard.render_markdown(replace(full(), rows=rows), tmp_path).read_text("utf-8")
    assert "on its test images: mean over seeds" in page
    assert "figure 4" not in page
    assert not (tmp_path / "figures/accuracy.png").exists()


def test_too_many_networks_to_draw_are_told(tmp_path: Path) -> None:
    base = results(seeds=(0, 1))
    rows = tuple(replace(r, backbone=f"net{k:02d}") for k in range(41) for r in base.rows)
    page = leaderboard.render_markdown(replace(base, rows=rows, samples=()), tmp_path)
    assert "Top-1 is not drawn: more networks (82) than bars can tell apart." in page.read_text()
