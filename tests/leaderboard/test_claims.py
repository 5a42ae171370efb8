"""Claims: which numbers they are about, what these come to, and what the page says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from synthetic_results import results

import leaderboard
from leaderboard import Claim, Localized, MetricInfo, Results, Row, Sample
from leaderboard.claims.gaps import gaps
from leaderboard.claims.judge import Judged, Verdict, judge
from leaderboard.numbers.variants import against_baseline

ON_PAR = Claim("On par", ("accuracy/top1",), "not lower", margin=1.0)
BETTER = Claim("Better", ("accuracy/top1",), "higher")
INFO = {("accuracy", "top1"): MetricInfo("Top-1", "%", "higher", 2, True)}


def board(gains: Sequence[float], variant: str = "td", backbone: str = "net") -> tuple[Row, ...]:
    """Top-1 of bu, 80 + a tenth of the seed, and of a variant that gains so much with each seed."""
    return tuple(
        Row("d", backbone, name, seed, "accuracy", "top1", 80 + seed / 10 + gain, "%")
        for seed, more in enumerate(gains)
        for name, gain in (("bu", 0.0), (variant, more))
    )


def judged(claim: Claim, rows: Sequence[Row], **more: object) -> Judged:
    fields = {"metrics": INFO, **more}
    (found,) = judge(Results("t", tuple(dict.fromkeys(rows)), claims=(claim,), **fields))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("claim", "gains", "verdict"),
    [
        (BETTER, (2.0, 2.1, 1.9), Verdict.REPRODUCED),
        (BETTER, (-2.0, -2.1, -1.9), Verdict.NOT_REPRODUCED),
        (BETTER, (2.0, -1.0, 0.5), Verdict.INCONCLUSIVE),
        (BETTER, (2.0,), Verdict.INCONCLUSIVE),
        (BETTER, (2.0, 2.0), Verdict.INCONCLUSIVE),  # equal by chance: no spread to go by
        (replace(BETTER, margin=5.0), (0.1, -0.1, 0.05), Verdict.NOT_REPRODUCED),
        (replace(BETTER, expect="lower"), (-2.0, -2.1, -1.9), Verdict.REPRODUCED),
        (ON_PAR, (-0.3, -0.2, -0.25), Verdict.REPRODUCED),
        (ON_PAR, (3.0, 2.9, 3.1), Verdict.REPRODUCED),
        (ON_PAR, (-3.0, -2.9, -3.1), Verdict.NOT_REPRODUCED),
        (ON_PAR, (-1.0, -0.9, -1.1), Verdict.INCONCLUSIVE),
        (BETTER, (0.0, 0.0), Verdict.INCONCLUSIVE),
        (ON_PAR, (0.0, 0.0, 0.0), Verdict.INCONCLUSIVE),
        # A gain that is sure and does not matter is none.
        (replace(BETTER, margin=5.0), (0.2, 0.21, 0.19), Verdict.NOT_REPRODUCED),
        (replace(BETTER, margin=0.1), (0.2, 0.21, 0.19), Verdict.REPRODUCED),
        (replace(BETTER, expect="lower", margin=5.0), (-0.2, -0.21, -0.19), Verdict.NOT_REPRODUCED),
        (replace(ON_PAR, expect="not higher"), (3.0, 2.9, 3.1), Verdict.NOT_REPRODUCED),
        (replace(ON_PAR, expect="not higher"), (0.3, 0.2, 0.25), Verdict.REPRODUCED),
    ],
)
def test_verdicts(claim: Claim, gains: tuple[float, ...], verdict: Verdict) -> None:
    assert judged(claim, board(gains)).verdict is verdict


def test_one_line_is_students_interval() -> None:
    gains = (2.0, 1.0, 1.6)
    (line,) = judged(BETTER, board(gains)).lines
    (wanted,) = against_baseline(Results("t", board(gains), INFO))
    assert (line.difference, line.low, line.high) == pytest.approx(
        (wanted.compared.difference, wanted.compared.low, wanted.compared.high)
    )
    assert (line.gap.mine, line.gap.other) == pytest.approx((80.1 + np.mean(gains), 80.1))


def test_noise_alone_hardly_ever_decides_a_claim() -> None:
    """Of boards with four networks that are all the same, one in twenty may have a verdict."""
    rng = np.random.default_rng(3)
    decided = 0
    for _ in range(300):
        rows = [row for b in "abcd" for row in board(rng.normal(0, 0.4, 3), backbone=b)]
        found = judged(BETTER, rows)
        assert len(found.lines) == 4
        decided += any(line.verdict is not Verdict.INCONCLUSIVE for line in found.lines)
    assert decided <= 300 * 0.05 + 2 * np.sqrt(300 * 0.05 * 0.95)


def test_few_images_that_agree_decide_no_claim() -> None:
    """Two networks of 99 % on 100 images have the same accuracies in one of ten pairs of seeds:
    neither is shown to be no better, nor to be on par within a point."""
    rng = np.random.default_rng(5)
    found = [
        judged(claim, board(rng.binomial(100, 0.99, 2) - rng.binomial(100, 0.99, 2))).verdict
        for claim in (BETTER, ON_PAR)
        for _ in range(200)
    ]
    assert sum(one is not Verdict.INCONCLUSIVE for one in found) <= 400 * 0.05


@pytest.mark.parametrize(
    ("gains", "verdict", "counts"),
    [
        ((2.0, 2.0), Verdict.REPRODUCED, "2 reproduced"),
        ((2.0, 0.0), Verdict.INCONCLUSIVE, "1 reproduced, 1 inconclusive"),
        ((2.0, -2.0), Verdict.NOT_REPRODUCED, "1 reproduced, 1 not reproduced"),
        ((0.0, -2.0), Verdict.NOT_REPRODUCED, "1 not reproduced, 1 inconclusive"),
    ],
)
def test_it_holds_for_all_networks_or_not_at_all(
    gains: tuple[float, float], verdict: Verdict, counts: str
) -> None:
    noise = (0.0, 0.1, -0.1)
    rows = [
        row
        for backbone, gain in zip("ab", gains, strict=True)
        for row in board([gain + more for more in noise], backbone=backbone)
    ]
    both = judged(BETTER, rows)
    assert (both.verdict, both.counts) == (verdict, counts)


def test_the_rival_that_leaves_least_room_decides() -> None:
    claim = replace(BETTER, nets=("*/td_rev",), against=("td", "td_uni"))
    rows = [*board((1.0, 1.1, 0.9), "td"), *board((2.95, 3.1, 3.0), "td_uni")]
    rows += board((3.05, 3.1, 2.9), "td_rev")
    found = judged(claim, rows)
    (line,) = found.lines
    assert line.gap.rival == "td_uni"
    assert line.verdict is Verdict.INCONCLUSIVE
    assert judged(replace(claim, against=("td",)), rows).verdict is Verdict.REPRODUCED


def test_a_rival_may_be_of_another_backbone(tmp_path: Path) -> None:
    """Its seeds are paired: the same as between variants with the same numbers."""
    gains = (2.0, 1.0, 1.6)
    mine = [replace(row, backbone="mine") for row in board(gains) if row.variant == "td"]
    theirs = [row for row in board(gains) if row.variant == "bu"]
    claim = replace(BETTER, nets=("*/mine/td",), against=("net/bu",))
    (line,) = judged(claim, [*mine, *theirs]).lines
    (within,) = judged(BETTER, board(gains)).lines
    assert (line.difference, line.low, line.high) == (within.difference, within.low, within.high)
    assert (line.gap.rival, line.gap.values.tolist()) == ("net bu", within.gap.values.tolist())
    data = Results("t", (*mine, *theirs), INFO, claims=(claim,))
    page = leaderboard.render_markdown(data, tmp_path).read_text("utf-8")
    assert "| 1 | d | mine | td | net bu |" in page
    assert "seeds are paired there too" in page


def test_a_network_is_no_rival_of_its_own() -> None:
    """`net/bu` is what `bu` is, for the networks of that backbone; other data sets count apart."""
    rows = [*board((2.0, 2.1, 1.9)), *board((1.0, 1.1, 0.9), backbone="other")]
    rows += [replace(row, dataset="e", backbone="timm/a") for row in board((2.0, 2.1, 1.9))]
    claim = replace(BETTER, against=("bu", "net/bu", "timm/a/bu"))
    found = [(*gap.net, gap.rival) for gap in gaps(Results("t", tuple(rows), INFO), claim)]
    assert found == [
        ("d", "net", "td", "bu"),
        ("d", "other", "bu", "net bu"),
        ("d", "other", "td", "bu"),
        ("d", "other", "td", "net bu"),
        ("e", "timm/a", "td", "bu"),
    ]


def test_backbones_that_are_the_same_hardly_ever_differ() -> None:
    """Whether or not seeds have something in common, one board in twenty may have a verdict."""
    rng = np.random.default_rng(5)
    claim = replace(BETTER, nets=("*/mine/bu",), against=("a/bu", "b/bu", "c/bu"))
    for shared in (0.0, 0.5):
        decided = 0
        for _ in range(300):
            order = rng.normal(0, shared, 3)
            rows = [
                Row("d", net, "bu", seed, "accuracy", "top1", 80 + order[seed] + own, "%")
                for net in ("mine", "a", "b", "c")
                for seed, own in enumerate(rng.normal(0, 0.4, 3))
            ]
            decided += judged(claim, rows).verdict is not Verdict.INCONCLUSIVE
        assert decided <= 300 * 0.05 + 2 * np.sqrt(300 * 0.05 * 0.95)


def test_what_was_not_measured_is_not_tested() -> None:
    for claim in (
        replace(BETTER, numbers=("accuracy/top5",)),
        replace(BETTER, nets=("*/td_uni",)),
        replace(BETTER, against=("td_rev",)),
        Claim("Heatmaps", ("localization/precision",), "higher"),
        Claim("Inputs", ("robustness/*/perturbed_top1*",), "weakest input", inputs=("high",)),
    ):
        found = judged(claim, board((1.0, 1.0, 1.0)))
        assert (found.verdict, found.lines, found.counts) == (Verdict.NOT_TESTED, (), "")


def test_loss_under_attack_is_that_of_the_curve() -> None:
    """Six images, two seeds, two attacks: the mean of the loss curve up to B, by hand."""
    inf = np.inf
    l2 = {
        ("bu", "blur"): [[0, 1, 2, 3, inf, 1], [0, 1, 1, 3, inf, 2]],
        ("td", "blur"): [[0, 2, 3, 3, inf, inf], [0, 0, 2, 3, inf, inf]],
        ("bu", "noise"): [[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 0]],
        ("td", "noise"): [[1, 1, 1, 1, 0.5, 0], [1, 1, 1, 1, 0.5, 0]],
    }
    samples = tuple(
        Sample("d", "net", variant, seed, attack, np.array(row, dtype=np.float64))
        for (variant, attack), rows in l2.items()
        for seed, row in enumerate(rows)
    )
    claim = Claim("Robust", ("robustness/*/loss",), "lower", nets=("*/td",))
    found = judged(claim, (), samples=samples)
    (line,) = found.lines
    ends = {"blur": 3.0, "noise": 1.0}  # where the panels end

    def loss(variant: str, seed: int) -> float:
        parts = []
        for attack, end in ends.items():
            row = np.array(l2[variant, attack][seed], dtype=np.float64)
            parts.append(np.mean([(1 - min(v, end) / end) if v > 0 else 0.0 for v in row]))
        return 100 * float(np.mean(parts))

    wanted = [loss("td", seed) - loss("bu", seed) for seed in (0, 1)]
    assert line.gap.values == pytest.approx(wanted)
    assert line.gap.numbers == ("robustness/blur/loss", "robustness/noise/loss")
    assert line.gap.images > 0
    left = replace(claim, numbers=("robustness/*/area",), expect="higher")
    area = judged(left, (), samples=samples).lines[0].gap
    clean = {
        (variant, seed): np.mean([np.mean(np.array(l2[variant, a][seed]) > 0) for a in ends])
        for variant in ("bu", "td")
        for seed in (0, 1)
    }
    gains = [100 * (clean["td", seed] - clean["bu", seed]) for seed in (0, 1)]
    assert area.values == pytest.approx(np.subtract(gains, wanted))
    moved = [replace(one, backbone="mine") if one.variant == "td" else one for one in samples]
    across = replace(claim, against=("net/bu",))
    (other,) = judged(across, (), samples=tuple(moved)).lines
    assert other.gap.values.tolist() == line.gap.values.tolist()
    assert (other.gap.images, other.low) == (line.gap.images, line.low)


def test_several_numbers_are_judged_by_their_mean() -> None:
    """Clean accuracy and what is left under two attacks: three percentages, one line."""
    rows = board((-4.0, -4.2, -3.8))
    samples = tuple(
        Sample("d", "net", variant, seed, attack, np.full(40, size + seed / 50))
        for variant, size in (("bu", 1.0), ("td", 1.5))
        for attack in ("blur", "noise")
        for seed in range(3)
    )
    claim = Claim("Both", ("accuracy/top1", "robustness/*/area"), "higher", nets=("*/td",))
    alone = judged(replace(claim, numbers=("robustness/*/area",)), rows, samples=samples).lines[0]
    (line,) = judged(claim, rows, samples=samples).lines
    assert len(line.gap.numbers) == 3
    assert line.gap.values == pytest.approx(
        (np.array([-4.0, -4.2, -3.8]) + 2 * alone.gap.values) / 3
    )
    assert line.gap.mine - line.gap.other == pytest.approx(line.difference)
    assert line.gap.images == pytest.approx(alone.gap.images * 4 / 9)


def test_ratios_of_several_numbers_have_a_geometric_mean() -> None:
    infos = {
        ("efficiency", "parameters"): MetricInfo("parameters", "", "lower", scale="si"),
        ("efficiency", "flops"): MetricInfo("FLOPs", "", "lower", scale="si"),
    }
    values = {"bu": (1e3, 1e6), "td": (2e3, 8e6)}
    rows = [
        Row("d", "net", variant, 0, "efficiency", metric, value, "")
        for variant, of in values.items()
        for metric, value in zip(("parameters", "flops"), of, strict=True)
    ]
    claim = Claim("Larger", ("efficiency/parameters", "efficiency/flops"), "higher")
    (line,) = judged(claim, rows, metrics=infos).lines
    assert line.difference == pytest.approx(4 - 1)
    assert line.gap.mine / line.gap.other == pytest.approx(4)


def heat(
    variant: str,
    seed: int,
    tp: list[int],
    fp: list[int],
    right: list[bool],
    backbone: str = "net",
) -> Localized:
    hit, beside = (np.array(column)[:, None] for column in (tp, fp))
    return Localized(
        "d", backbone, variant, seed, np.arange(len(tp)), np.array(right), hit, beside,
        10 - hit, np.array([0.2]), 0.2,
    )  # fmt: skip


def test_precision_is_of_images_that_both_get_right() -> None:
    cells = (
        heat("bu", 0, [8, 2, 9], [2, 8, 1], [True, True, True]),
        heat("td", 0, [9, 4, 0], [1, 6, 10], [True, True, False]),
        heat("bu", 1, [8, 2, 9], [2, 8, 1], [True, False, True]),
        heat("td", 1, [9, 4, 6], [1, 6, 4], [True, True, True]),
    )
    claim = Claim("Precise", ("localization/precision",), "higher", nets=("*/td",))
    (line,) = judged(claim, (), localized=cells).lines
    assert line.gap.values == pytest.approx([100 * (13 - 10) / 20, 100 * (15 - 17) / 20])
    assert (line.gap.mine, line.gap.other) == pytest.approx((70, 67.5))
    mine = [replace(cell, backbone="mine") for cell in cells if cell.variant == "td"]
    across = replace(claim, nets=("*/mine/*",), against=("net/bu",))
    (other,) = judged(across, (), localized=(*cells, *mine)).lines
    assert other.gap.rival == "net bu"
    assert other.gap.values.tolist() == line.gap.values.tolist()


def test_other_numbers_of_heatmaps_are_compared_by_seed() -> None:
    """Only precision, recall and IoU are of images that both get right."""
    cells = tuple(
        heat(variant, seed, [8, 2], [2, 8], [True, True])
        for variant in ("bu", "td")
        for seed in (0, 1)
    )
    rows = [replace(row, measure="localization", metric="pxap") for row in board((2.0, 2.1))]
    info = {("localization", "pxap"): MetricInfo("PxAP", "%", "higher", 1, True)}
    claim = Claim("Precise", ("localization/pxap",), "higher", nets=("*/td",))
    (line,) = judged(claim, rows, metrics=info, localized=cells).lines
    assert line.gap.values == pytest.approx([2.0, 2.1])


def test_what_is_counted_needs_no_second_seed() -> None:
    info = MetricInfo("training memory", "B", "lower", headline=True, scale="bytes")
    rows = [
        Row("d", "net", variant, 0, "efficiency", "train_memory", value, "B")
        for variant, value in (("bu", 2.0**20), ("td", 3.5 * 2**20))
    ]
    claim = Claim("Dearer", ("efficiency/train_memory",), "higher", nets=("*/td",))
    found = judged(claim, rows, metrics={("efficiency", "train_memory"): info})
    assert found.verdict is Verdict.REPRODUCED
    assert found.lines[0].difference == pytest.approx(2.5)
    for metric in ("images_per_second", "train_memory_resident", "energy"):
        once = [replace(row, metric=metric) for row in rows]
        measured = replace(claim, numbers=(f"efficiency/{metric}",))
        found = judged(measured, once, metrics={("efficiency", metric): info})
        assert found.verdict is Verdict.INCONCLUSIVE  # one measurement tells nothing of the next


@pytest.mark.parametrize(
    ("inputs", "verdict"),
    [
        (("medium",), Verdict.REPRODUCED),
        (("high",), Verdict.NOT_REPRODUCED),
        (("medium", "low"), Verdict.REPRODUCED),
    ],
)
def test_the_weakest_input(inputs: tuple[str, ...], verdict: Verdict) -> None:
    base = {"high": 90.0, "medium": 60.0, "low": 80.0, "high+low": 10.0}
    rng = np.random.default_rng(0)
    rows = [
        Row("d", "net", "td", seed, f"robustness/{attack}", f"perturbed_top1[{name}]",
            value + rng.normal(0, 0.2), "%")
        for seed in range(3)
        for attack in ("blur", "noise")
        for name, value in base.items()
    ]  # fmt: skip
    for number in ("robustness/*/perturbed_top1*", "robustness/*/loss"):
        claim = Claim("x", (number,), "weakest input", inputs=inputs)
        assert judged(claim, rows).verdict is verdict


def equal_inputs(rng: np.random.Generator, names: tuple[str, ...]) -> list[Row]:
    """Inputs that are all as vulnerable as each other."""
    return [
        Row("d", "net", "td", seed, "robustness/blur", f"perturbed_top1[{name}]", value, "%")
        for name in names
        for seed, value in enumerate(50 + rng.normal(size=4))
    ]


def test_the_weakest_of_several_inputs_is_not_found_by_luck() -> None:
    """It is picked on the numbers that it is tested on: of equal inputs, no more than 2.5 % of the
    claims may come out as reproduced, however many inputs they name."""
    rng = np.random.default_rng(0)
    named = ("a", "b", "c")
    claim = Claim("x", ("robustness/*/loss",), "weakest input", inputs=named)
    runs = 1500
    found = sum(
        judged(claim, equal_inputs(rng, (*named, "z"))).verdict is Verdict.REPRODUCED
        for _ in range(runs)
    )
    assert found <= runs * 0.025 + 2 * np.sqrt(runs * 0.025 * 0.975)


def test_the_level_is_shared_over_the_inputs_that_were_there() -> None:
    """As over two lines for two inputs; an input that was not measured was not picked from."""
    rows = equal_inputs(np.random.default_rng(1), ("a", "b", "z"))
    perturbed: dict[str, list[float]] = {row.metric[-2]: [] for row in rows}
    for row in rows:
        perturbed[row.metric[-2]].append(row.value)
    weakest = min("ab", key=lambda name: np.mean(perturbed[name]))
    gap = np.subtract(perturbed[weakest], perturbed["z"])
    for inputs, compared in ((("a", "b"), 2), (("a", "b", "x"), 2), ((weakest,), 1)):
        kept = [row for row in rows if row.metric[-2] in (*inputs, "z")]
        claim = Claim("x", ("robustness/*/loss",), "weakest input", inputs=inputs)
        (line,) = judged(claim, kept).lines
        half = stats.t.ppf(1 - 0.025 / compared, 3) * gap.std(ddof=1) / 2
        assert (line.low, line.high) == pytest.approx((gap.mean() - half, gap.mean() + half))


def test_the_pages_have_a_section(tmp_path: Path) -> None:
    plain = results(seeds=(0, 1, 2))
    memory = Claim("Dearer", ("efficiency/peak_memory",), "higher", source="section 5")
    data = replace(
        plain, claims=(replace(ON_PAR, margin=1.5), memory, replace(BETTER, nets=("x",)))
    )
    page = leaderboard.render_markdown(data, tmp_path / "a").read_text("utf-8")
    section = page.partition("## What reproduces")[2].partition("\n## ")[0]
    for number, one in enumerate(judge(data), 1):
        start = f"| {number} | {one.claim.claim} |"
        (line,) = [row for row in section.splitlines() if row.startswith(start)]
        assert f"| {one.verdict} |" in line
    assert "| not tested | – |" in section
    assert "section 5" in section
    assert "within a margin" in section
    assert page == leaderboard.render_markdown(data, tmp_path / "b").read_text("utf-8")
    html = tmp_path / "page.html"
    leaderboard.render_html(data, html)
    assert "What reproduces" in html.read_text("utf-8")
    leaderboard.render_markdown(plain, tmp_path / "c")
    assert "What reproduces" not in (tmp_path / "c" / "leaderboard.md").read_text("utf-8")
