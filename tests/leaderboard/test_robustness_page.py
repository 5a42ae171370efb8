"""What the pages say about robustness, in Markdown and HTML."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from synthetic_results import results
from test_pages import Reader, read_markdown
from test_scale_charts import TABLE, VALUES, errors, perturbed

import leaderboard
from leaderboard import AttackInfo, Claim, Results, Row
from leaderboard.text import strength

pytestmark = pytest.mark.usefixtures("drawn_once")


def full(**more: object) -> Results:
    """Curves of two attacks, perturbed scales, corruptions, and a network that is randomised."""
    base = results(images=60)
    name = base.rows[0].dataset

    def here(rows: tuple[Row, ...]) -> list[Row]:
        return [replace(row, dataset=name, backbone="lenet_fc") for row in rows]

    rows = [*base.rows, *here(perturbed(VALUES, attack="single_pixel").rows)]
    rows += here(errors(TABLE).rows)
    rows += [
        Row(name, "lenet_fc", "td", 0, "robustness/single_pixel", metric, value, "%")
        for metric, value in (
            ("randomised", 5.0),
            ("evaluations", 1234.4),
            ("robust_top1[0.5]", 60.0),
            ("robust_top1[1]", 20.0),
        )
    ]
    return replace(base, rows=tuple(rows), **more)


def markdown(data: Results, folder: Path) -> str:
    return leaderboard.render_markdown(data, folder).read_text("utf-8").replace("\u00a0", " ")


def test_the_caption_says_what_a_blank_place_of_the_scales_is(tmp_path: Path) -> None:
    """No bar, but the clean accuracy's line: 0. Neither: another network's input."""
    neither = "Where there is neither, the network has no such inputs, or was not measured so."
    text = markdown(full(), tmp_path)
    assert "no bar beside such a line an accuracy of 0." in text
    assert neither not in text
    data = full()
    fine = perturbed({"scale1": 60.0, "scale16": 0.0}, variant="td_uni", attack="single_pixel")
    rows = [replace(row, dataset=data.rows[0].dataset, backbone="other") for row in fine.rows]
    assert neither in markdown(replace(data, rows=(*data.rows, *rows)), tmp_path)


def test_a_page_has_numbers_flags_scales_and_corruptions(tmp_path: Path) -> None:
    text = markdown(full(), tmp_path)
    lines = read_markdown(text).lines
    main = next(line for line in lines if line[:3] == ["lenet_fc", "td", "2"])
    assert main[-1] == "⚠ randomised"
    assert next(line for line in lines if line[:3] == ["lenet_fc", "bu", "2"])[-1] == "–"
    (area,) = [line for line in lines if line[0].startswith("Single pixel, B") and line[2] == "td"]
    assert area[1:4] == ["lenet_fc", "td", "2"]
    assert area[5].count("[") == 1
    assert area[6].startswith(("+", "-"))
    assert area[-1] == "1,234"
    assert ["Single pixel", "0.5", "60.0"] in lines
    flag = ["⚠ randomised", "lenet_fc", "td", "any", "5.0 % of the predictions change"]
    assert flag in lines
    assert "**randomised**: the network's outputs change" in text
    assert "Not tested, because the attacks or numbers needed are missing: softmax output" in text
    clean = ["Single pixel", "lenet_fc", "td", "90.5 ± 0.7"]
    (scales,) = [line for line in lines if line[:4] == clean]
    assert scales[4:8] == ["70.5 ± 0.7", "40.5 ± 0.7", "80.5 ± 0.7", "35.5 ± 0.7"]
    assert "**40.5 ± 0.7**" in text
    assert ["lenet_fc", "td", "2", "1.0 ± 0.0", "23.8 ± 8.8", "75.0 ± 0.0"] in lines
    figures = [attributes["src"] for tag, attributes in read_markdown(text).tags if tag == "img"]
    assert figures == [
        "figures/accuracy.png", "figures/accuracy-against-cost.png",
        "figures/fashion-mnist-mini.png", "figures/fashion-mnist-mini-scales.png",
        "figures/fashion-mnist-mini-corruptions.png",
    ]  # fmt: skip
    assert all((tmp_path / str(name)).stat().st_size > 5000 for name in figures)


def test_html_says_the_same_and_shows_badges(tmp_path: Path) -> None:
    text = leaderboard.render_html(full(), tmp_path / "x.html").read_text("utf-8")
    page = Reader(text)
    assert page.open == []
    # The table of results comes first there, the overview after it.
    assert sorted(page.lines) == sorted(read_markdown(markdown(full(), tmp_path)).lines)
    badges = [attributes.get("class") for tag, attributes in page.tags if tag == "span"]
    # Of the network twice, of what was found, and of three verdicts on its numbers under attack.
    assert badges.count("flag") == 3 + 3
    heads = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert all(later - earlier <= 1 for earlier, later in pairwise(heads))


@pytest.mark.usefixtures("drawn_anew")
def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    def tree(folder: Path) -> dict[str, bytes]:
        leaderboard.render_markdown(full(), folder)
        leaderboard.render_html(full(), folder / "page.html")
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_best_of_each_attack_is_marked_where_it_has_several_seeds(tmp_path: Path) -> None:
    """Not where medians are equal, of seeds and resampled images alike: that is chance."""
    near, far = np.full(40, 1.0), np.full(40, 2.0)
    ends = "100.0 [91.2, 100.0]", "2.00 [2.00, 2.00]"  # of 40 images, all standing
    for seeds, mark in (((0, 1), "**"), ((0,), "")):
        base = results(images=40, seeds=seeds)
        samples = [replace(s, l2=far if s.variant == "td" else near) for s in base.samples]
        folder = tmp_path / str(len(seeds))
        lines = markdown(replace(base, samples=tuple(samples)), folder).splitlines()
        bu, td = [line for line in lines if line.startswith("| Single pixel, B = 2")]
        assert "| 50.0 [45.6, 54.4] |" in bu
        area, median = f"{mark}{ends[0]}{mark}", "2.00" if mark else ends[1]
        assert f"| {area} | +50.0 [+36.8, +54.4] | {median} |" in td


def test_a_median_that_is_infinite_for_some_seeds_has_no_interval(tmp_path: Path) -> None:
    """Of three seeds' medians, one infinite, there is no mean to give an interval of."""
    base = results(images=60, seeds=(0, 1, 2))
    near = np.linspace(1.0, 2.0, 60)
    far = np.where(np.arange(60) < 20, near, np.inf)

    def page(endless: tuple[int, ...]) -> str:
        samples = tuple(
            replace(s, l2=far if (s.variant, s.seed) in [("td", k) for k in endless] else near)
            for s in base.samples
        )
        rows = [
            replace(row, value=np.inf)
            if (row.variant, row.metric) == ("td", "median_l2") and row.seed in endless
            else row
            for row in base.rows
        ]
        return markdown(replace(base, rows=tuple(rows), samples=samples), tmp_path)

    said = "∞ for k of n: infinite for k of n seeds"
    some = page((1,))
    bu, td = [line for line in some.splitlines() if line.startswith("| Single pixel, B = 2")]
    assert "| ∞ for 1 of 3 |" in td
    assert "**1.49 [" not in bu, "nor is the next best in its place"
    assert some.count(said) == 2, "below the main table and below that of attacks"
    assert sum("| ∞ for 1 of 3 |" in line for line in some.splitlines()) == 3
    every = page((0, 1, 2))
    (td,) = [
        line
        for line in every.splitlines()
        if line.startswith("| Single pixel, B = 2 | lenet_fc | td")
    ]
    assert "| **∞ [∞, ∞]** |" in td
    assert said not in every
    html = leaderboard.render_html(base, tmp_path / "x.html").read_text("utf-8")
    assert said not in html


def test_flagged_numbers_are_not_bold_and_verdicts_on_them_say_so(tmp_path: Path) -> None:
    claim = Claim("td is the more robust", ("robustness/single_pixel/area",), "higher")
    accuracy = Claim("td is on par", ("accuracy/top1",), "not lower", margin=5.0)
    near, far = np.full(60, 1.0), np.full(60, 2.0)

    def page(metric: str, **more: object) -> str:
        base = results(images=60)
        name = (base.rows[0].dataset, "lenet_fc", "td", 0)
        sign = Row(*name, "robustness/single_pixel", metric, 5.0, "%")
        samples = tuple(
            # Of seeds that agree to the digit nothing would be concluded.
            replace(s, l2=far if s.variant == "td" else near + s.seed / 100)
            for s in base.samples
        )
        more = {"samples": samples, "rows": (*base.rows, sign), "claims": (claim, accuracy), **more}
        return markdown(replace(base, **more), tmp_path)

    def lines(text: str, start: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith(start)]

    sound, doubtful = page("randomised_not"), page("randomised")
    said = "; flagged: randomised"
    for text, flagged in ((sound, False), (doubtful, True)):
        _, td = lines(text, "| Single pixel, B = 2")
        assert ("**100.0" in td) is not flagged
        head, on_par = lines(text, "| 1 | td is")[0], lines(text, "| 2 | td is")[0]
        verdict = f"⚠ reproduced{said}" if flagged else "reproduced"
        assert f"| {verdict} | 1 reproduced |" in head
        assert said not in on_par
        assert any(verdict in line for line in lines(text, "| 1 | fashion-mnist-mini |"))
        compared = lines(text, "| fashion-mnist-mini | lenet_fc | td |")
        assert any(f"⚠ better{said}" in line for line in compared) is flagged
        assert ("that a flag speaks against is not bold" in text) is flagged
    # Signs against gradients are none against attacks that follow none.
    blind = AttackInfo("decision", "L2", "other")
    known = {"single_pixel": blind, "salt_and_pepper": blind}
    assert "flagged:" not in page("zero_gradient", attacks=known)
    known["single_pixel"] = AttackInfo("gradient", "L2", "iterative")
    assert "; flagged: zero gradient" in page("zero_gradient", attacks=known)


@pytest.mark.parametrize(
    ("metric", "value", "bold"),
    [("lost_on_recheck", 2.0, True), ("lost_on_recheck", 3.0, False), ("miss_rate", 9.0, True)],
)
def test_minor_flags_leave_bold(metric: str, value: float, bold: bool, tmp_path: Path) -> None:
    base = results(images=60)
    name = (base.rows[0].dataset, "lenet_fc", "td", 0)
    sign = Row(*name, "robustness/single_pixel", metric, value, "")
    samples = tuple(
        replace(s, l2=np.full(60, 2.0 if s.variant == "td" else 1.0)) for s in base.samples
    )
    text = markdown(replace(base, samples=samples, rows=(*base.rows, sign)), tmp_path)
    _, td = [line for line in text.splitlines() if line.startswith("| Single pixel, B = 2")]
    assert ("**100.0" in td) is bold


def test_infinite_medians_are_shown_as_such(tmp_path: Path) -> None:
    base = results(images=40, seeds=(0,))
    samples = tuple(replace(s, l2=np.full(40, np.inf)) for s in base.samples)
    assert "∞ [∞, ∞]" in markdown(replace(base, samples=samples), tmp_path)


def test_epsilons_are_shown_with_their_norm(tmp_path: Path) -> None:
    known = {"single_pixel": AttackInfo("gradient", "Linf", "iterative", (0.5, 1.0))}
    lines = read_markdown(markdown(full(attacks=known), tmp_path)).lines
    assert ["Single pixel", "L∞ 0.5", "60.0"] in lines


def test_without_attacks_there_is_no_section(tmp_path: Path) -> None:
    base = results()
    plain = replace(base, samples=(), rows=tuple(r for r in base.rows if r.measure == "accuracy"))
    text = markdown(plain, tmp_path)
    assert "Robustness" not in text
    assert "Flags" not in text
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["accuracy.png"]


def test_hostile_names_keep_the_tables(tmp_path: Path) -> None:
    data, name = full(), "x|y <b> `$*_\n[1]: a"
    rows = tuple(replace(row, backbone=name) for row in data.rows)
    samples = tuple(replace(sample, backbone=name) for sample in data.samples)
    hostile = replace(data, rows=rows, samples=samples)
    html = Reader(leaderboard.render_html(hostile, tmp_path / "x.html").read_text("utf-8"))
    assert html.open == []
    assert sorted(read_markdown(markdown(hostile, tmp_path)).lines) == sorted(html.lines)


@pytest.mark.parametrize(
    ("norm", "epsilon", "text"),
    [
        ("Linf", 8 / 255, "L∞ 8/255"),
        ("Linf", 0.00392157, "L∞ 1/255"),
        ("Linf", 0.5, "L∞ 0.5"),
        ("L2", 8 / 255, "L₂ 0.0314"),
        ("", 2.0, "2"),
    ],
)
def test_epsilons_are_read_as_people_write_them(norm: str, epsilon: float, text: str) -> None:
    assert strength(norm, epsilon) == text


def test_json_says_what_the_attacks_are(tmp_path: Path) -> None:
    known = {"single_pixel": AttackInfo("gradient", "Linf", "iterative", (0.5, 1.0))}
    path = leaderboard.render_json(full(attacks=known), tmp_path / "x.json")
    assert json.loads(path.read_text("utf-8"))["attacks"] == {
        "single_pixel": {
            "access": "gradient", "norm": "Linf", "kind": "iterative", "strengths": [0.5, 1.0],
            "family": "", "limits": [],
        }
    }  # fmt: skip


def test_a_grid_of_epsilons_is_told(tmp_path: Path) -> None:
    info = AttackInfo("gradient", "L2", strengths=(0.5, 1.0, 8.0))
    text = markdown(full(attacks={"single_pixel": info}), tmp_path)
    assert "Tried at fixed strengths only: Single pixel (3 epsilons)." in text
    free = markdown(full(attacks={"single_pixel": AttackInfo("decision", "L0")}), tmp_path)
    assert "Tried at fixed strengths only" not in free
