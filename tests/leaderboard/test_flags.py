"""Every badge: a case in which it is given and one in which it is not."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import leaderboard
from leaderboard import AttackInfo, Results, Row, Sample
from leaderboard.numbers.flags import BADGES, Flag, flags, unjudged

PGD = AttackInfo("gradient", "L2", "iterative")
PGD_AT = AttackInfo("gradient", "L2", "iterative", (0.5, 1.0))
FGSM = AttackInfo("gradient", "L2", "one-step")
HOP = AttackInfo("decision", "L2", "other")
NOISE = AttackInfo("decision", "", "noise")
SQUARE = AttackInfo("score", "Linf", "square", (0.1, 0.2))
LINF = AttackInfo("gradient", "Linf", "iterative", (0.1, 0.2))
CURVE = {"robust_top1[0.5]": 40.0, "robust_top1[1]": 0.0}
CLEAR = {
    "randomised": 0.0, "probabilities": 0.0, "zero_gradient": 0.0, "gradient_in_forward": 0.0,
    "lost_on_recheck": 0.0, "identical_repeats": 0.0, "success_rate": 100.0,
}  # fmt: skip
IMAGES = 200
HARD = np.random.default_rng(0).lognormal(0, 0.5, IMAGES)


def made(
    metrics: Mapping[str, float] | None = None,
    attacks: Mapping[str, tuple[AttackInfo, np.ndarray]] | None = None,
    seed: int = 0,
    curve: Mapping[str, float] = CURVE,
) -> Results:
    """One network: metrics of one attack, and distances of several, in the attack's own norm."""
    found = attacks or {"pgd": (PGD_AT, HARD)}
    known = {name: info for name, (info, _) in found.items()}
    rows = [
        Row("d", "net", "bu", seed, f"robustness/{next(iter(found))}", metric, value, "")
        for metric, value in (CLEAR | dict(curve) | dict(metrics or {})).items()
    ]
    samples = [
        Sample(
            "d", "net", "bu", seed, name, distances, linf=distances if info.norm == "Linf" else None
        )
        for name, (info, distances) in found.items()
    ]
    return Results("t", tuple(rows), {}, samples=tuple(samples), attacks=known)


def badges(results: Results) -> set[str]:
    return {flag.badge for flag in flags(results, "d")}


def test_a_sound_evaluation_has_no_badge() -> None:
    attacks = {
        "pgd": (PGD, HARD), "fgsm": (FGSM, HARD * 1.3), "hop": (HOP, HARD * 1.2),
        "noise": (NOISE, HARD * 9),
    }  # fmt: skip
    assert flags(made(attacks=attacks), "d") == []
    assert flags(made(), "elsewhere") == []


@pytest.mark.parametrize(
    ("metric", "value", "badge", "finding"),
    [
        ("randomised", 5.0, "randomised", "5.0 % of the predictions change"),
        ("probabilities", 1.0, "softmax", "sum to 1"),
        ("zero_gradient", 1.5, "zero_gradient", "1.5 % of the images"),
        ("gradient_in_forward", 1.0, "gradient_in_forward", "autograd"),
        ("lost_on_recheck", 3.0, "lost", "3 of a seed's adversarials"),
        ("identical_repeats", 2.0, "identical", "2 repeats"),
        ("oversized", 12.0, "oversized", "12 of a seed's perturbations were larger than asked for"),
        ("miss_rate", 3.125, "approximate", "3.1 %"),
        ("miss_rate", 0.0, "approximate", "0.0 %"),
        ("robust_top1[1]", 42.0, "monotone", "2.0 points from epsilon 0.5 to 1"),
    ],
)
def test_badges_of_metrics(metric: str, value: float, badge: str, finding: str) -> None:
    (flag,) = flags(made({metric: value}), "d")
    assert (flag.badge, flag.backbone, flag.variant) == (badge, "net", "bu")
    assert finding in flag.finding
    assert badge not in badges(made())


def test_one_image_more_is_no_rise() -> None:
    assert badges(made({"robust_top1[1]": 40.5})) == set()
    assert badges(made({"robust_top1[1]": 41.5})) == {"monotone"}


def test_a_rise_is_found_between_any_two_epsilons() -> None:
    found = made({"robust_top1[0.5]": 40.0, "robust_top1[1]": 10.0, "robust_top1[2]": 20.0})
    (flag,) = flags(found, "d")
    assert "10.0 points from epsilon 1 to 2" in flag.finding


@pytest.mark.parametrize(
    ("info", "success", "fires"),
    [
        (PGD, 90.0, True),
        (PGD, 100.0, False),
        (PGD, 99.5, False),  # one image of 200
        (PGD_AT, 90.0, False),  # its epsilons bound it
        (FGSM, 90.0, False),  # one step is not expected to get there
        (HOP, 90.0, False),  # without gradients neither
    ],
)
def test_unbounded_attacks_reach_zero(info: AttackInfo, success: float, fires: bool) -> None:
    found = made({"success_rate": success, "robust_top1[1]": 0.0}, {"a": (info, HARD)})
    assert ("unbounded" in badges(found)) == fires


@pytest.mark.parametrize(
    ("epsilon", "left", "fires"), [(0.5, 8.0, True), (0.5, 0.0, False), (0.4, 8.0, False)]
)
def test_half_the_range_in_linf_counts_as_unbounded(
    epsilon: float, left: float, fires: bool
) -> None:
    info = AttackInfo("gradient", "Linf", "iterative", (0.1, epsilon))
    curve = {"robust_top1[0.1]": 60.0, f"robust_top1[{epsilon:g}]": left}
    assert ("unbounded" in badges(made(attacks={"a": (info, HARD)}, curve=curve))) == fires


@pytest.mark.parametrize(
    ("badge", "weaker"), [("one_step", FGSM), ("black_box", HOP), ("noise", NOISE)]
)
def test_a_weaker_attack_that_does_better(badge: str, weaker: AttackInfo) -> None:
    better = made(attacks={"pgd": (PGD, HARD), "weak": (weaker, HARD * 0.5)})
    (flag,) = flags(better, "d")
    assert (flag.badge, flag.attack) == (badge, "pgd")
    assert "% less than Weak at L₂" in flag.finding
    assert "1 of 1 seeds" in flag.finding
    assert badges(made(attacks={"pgd": (PGD, HARD), "weak": (weaker, HARD * 1.5)})) == set()
    # As good, with luck on either side.
    luck = HARD * np.random.default_rng(1).lognormal(0, 0.2, IMAGES)
    assert badges(made(attacks={"pgd": (PGD, HARD), "weak": (weaker, luck)})) == set()


def test_rivals_are_compared_at_the_epsilons_of_the_stronger() -> None:
    """An attack at fixed epsilons does not look for smaller ones, and is not blamed for that."""
    at = np.where(HARD <= 0.5, 0.5, np.where(HARD <= 1.0, 1.0000001, np.inf))
    assert badges(made(attacks={"pgd": (PGD_AT, at), "hop": (HOP, HARD)})) == set()
    stuck = np.where(HARD <= 0.5, 0.5, np.inf)
    assert badges(made(attacks={"pgd": (PGD_AT, stuck), "hop": (HOP, HARD)})) == {"black_box"}


def test_rivals_are_compared_in_the_norm_of_the_stronger_and_on_the_same_images() -> None:
    results = made(attacks={"pgd": (LINF, HARD), "fgsm": (FGSM, HARD * 0.01)})
    assert badges(results) == set()  # of the one-step attack no L-infinity is known
    pgd, fgsm = made(attacks={"pgd": (PGD, HARD), "fgsm": (FGSM, HARD)}).samples
    turned = replace(fgsm, l2=fgsm.l2[::-1], index=np.arange(IMAGES)[::-1])
    shifted = replace(fgsm, index=np.arange(IMAGES) + 1000)
    for other in (turned, shifted):
        found = replace(results, attacks={"pgd": PGD, "fgsm": FGSM}, samples=(pgd, other))
        assert badges(found) == set()


def test_a_success_at_a_small_epsilon_counts_where_a_larger_one_came_closer_in_l2() -> None:
    """At 0.1 both fool everything; at 0.2 the iterative one has sparser changes, smaller in L2, and
    these are the sample's."""
    step = AttackInfo("gradient", "Linf", "one-step", (0.1, 0.2))
    small, large = np.full(IMAGES, 0.1), np.full(IMAGES, 0.2)
    always = np.zeros((IMAGES, 2), dtype=bool)
    at_last = np.stack([np.ones(IMAGES, dtype=bool), np.zeros(IMAGES, dtype=bool)], 1)

    def found(iterative: np.ndarray, one_step: np.ndarray, linf: np.ndarray) -> set[str]:
        results = made(attacks={"pgd": (LINF, large), "fgsm": (step, linf)})
        pgd, fgsm = results.samples
        both = replace(pgd, robust=iterative), replace(fgsm, robust=one_step)
        return badges(replace(results, samples=both))

    assert found(always, always, small) == set()
    assert found(at_last, always, small) == {"one_step"}
    # As much may be hidden of the weaker attack, which is then the better one.
    assert found(at_last, always, large) == {"one_step"}
    assert found(at_last, at_last, large) == set()


def test_square_adds_nothing_to_a_success_that_a_larger_epsilon_hides() -> None:
    small, large = np.full(IMAGES, 0.1), np.full(IMAGES, 0.2)
    results = made(attacks={"pgd": (LINF, large), "square": (SQUARE, small)})
    pgd, square = results.samples
    assert badges(results) == {"square", "black_box"}
    fooled = replace(pgd, robust=np.zeros((IMAGES, 2), dtype=bool))
    assert badges(replace(results, samples=(fooled, square))) == set()
    # Columns of other epsilons than are known say nothing.
    other = replace(pgd, robust=np.zeros((IMAGES, 3), dtype=bool))
    assert badges(replace(results, samples=(other, square))) == {"square", "black_box"}


def test_robust_has_a_row_for_each_image() -> None:
    with pytest.raises(ValueError, match="d/net/bu/seed0/pgd: robust must have a row for each l2"):
        replace(made().samples[0], robust=np.zeros((IMAGES + 1, 2), dtype=bool))


def test_square_that_fools_what_gradients_do_not() -> None:
    left = HARD.copy()
    left[:4] = np.inf
    square = np.full(IMAGES, np.inf)
    square[2] = 0.1  # one image of 200: 0.5 %
    found = made(attacks={"pgd": (LINF, left / 100), "square": (SQUARE, square)})
    (flag,) = flags(found, "d")
    assert (flag.badge, flag.attack) == ("square", "square")
    assert "fools 0.5 % more than the gradient attacks at L∞ 0.1" in flag.finding
    # Another gradient attack has that image.
    more = np.full(IMAGES, np.inf)
    more[2] = 0.1
    both = {"pgd": (LINF, left / 100), "fab": (LINF, more), "square": (SQUARE, square)}
    assert badges(made(attacks=both)) == set()


def test_square_is_judged_at_epsilons_that_gradients_were_run_at() -> None:
    elsewhere = AttackInfo("gradient", "Linf", "iterative", (0.3,))
    nothing, all_fooled = np.full(IMAGES, np.inf), np.full(IMAGES, 0.1)
    found = made(attacks={"pgd": (elsewhere, nothing), "square": (SQUARE, all_fooled)})
    assert "square" not in badges(found)


def test_seeds_are_told() -> None:
    attacks = {"pgd": (PGD, HARD), "hop": (HOP, HARD * 0.5)}
    first, second = made(attacks=attacks), made(attacks=attacks | {"hop": (HOP, HARD * 2)}, seed=1)
    both = replace(first, rows=first.rows + second.rows, samples=first.samples + second.samples)
    (flag,) = flags(both, "d")
    assert isinstance(flag, Flag)
    assert "(1 of 2 seeds)" in flag.finding


def test_what_could_not_be_judged_is_said() -> None:
    few = made(attacks={"blur": (AttackInfo("decision"), HARD)})
    assert unjudged(few, "d") == [
        "square", "one_step", "black_box", "noise", "monotone", "unbounded", "oversized",
    ]  # fmt: skip
    all_kinds = {
        "pgd": (PGD, HARD), "fgsm": (FGSM, HARD), "hop": (HOP, HARD), "noise": (NOISE, HARD),
        "square": (SQUARE, HARD), "linf": (LINF, HARD),
    }  # fmt: skip
    assert unjudged(made({"oversized": 0.0}, all_kinds), "d") == []
    assert unjudged(replace(few, rows=()), "d") == [*BADGES]


def test_sizes_are_told_of_where_they_were_looked_at(tmp_path: Path) -> None:
    """Runs of before that say nothing of it, and one too large is enough to speak against."""
    name = BADGES["oversized"].name

    def page(results: Results) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return leaderboard.render_markdown(results, folder).read_text("utf-8")

    assert name not in page(made())
    sound = page(made({"oversized": 0.0}))
    (line,) = [line for line in sound.splitlines() if name in line]
    assert name in line.partition("Looked for and not found: ")[2].partition("Not judged")[0]
    (flag,) = flags(made({"oversized": 1.0}), "d")
    assert not flag.minor
    assert "do not count" in page(made({"oversized": 1.0}))


def test_every_badge_is_explained() -> None:
    assert all(badge.name and len(badge.meaning) > 20 for badge in BADGES.values())
    assert len({badge.name for badge in BADGES.values()}) == len(BADGES)
