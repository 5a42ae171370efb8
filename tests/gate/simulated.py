"""Runs as chance would give them, drawn from ten real seeds of the quickstart.

`quickstart_ten_seeds.json` is the baseline of a run of suites/quickstart.yaml with seeds 0 to 9:
two networks (bu and td), 1,000 test images, two attacks on 200 of them. A draw gives the baseline
and the run networks of fresh seeds: accuracies are normal with the mean and spread of the ten, and
curves are those of one of the ten, on test images drawn anew (the same for both sides, as the gate
demands). Speeds are log-normal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from leaderboard.gate.baseline import Baseline, loads
from leaderboard.gate.measured import Attacked, Measured, Number, Trained
from leaderboard.gate.noise import Noise, noise
from leaderboard.numbers.summary import Key

FILE = Path(__file__).parent / "quickstart_ten_seeds.json"
NETS = (("fashion-mnist-mini", "lenet_fc", "bu"), ("fashion-mnist-mini", "lenet_fc", "td"))
# Spread of the logarithm of images/s between seeds on a quiet machine: 34.4 ± 0.2 k (bu) and
# 8.9 ± 0.1 k (td), as published.
SPEEDS = {"bu": (34_400.0, 0.006), "td": (8_900.0, 0.011)}

Change = Callable[[Measured], Measured]


@cache
def ten_seeds() -> Baseline:
    """The real networks."""
    return loads(FILE.read_text(encoding="utf-8"), str(FILE))


def drawn(
    random: np.random.Generator, seeds: int, history: bool = True
) -> tuple[Baseline, Measured]:
    """A baseline and a run between which nothing but chance has changed.

    With `history`, the baseline knows the spread of all ten seeds (`--noise-from`), else its own.
    """
    real = ten_seeds()
    attacked = random.integers(0, 200, 200)
    before, after = (_side(real.measured, random, seeds, attacked) for _ in range(2))
    known = noise([before])
    if history:
        spread = noise([_curves(real.measured, {net: np.arange(10) for net in NETS}, attacked)])
        ten = {k: spread for k, spread in real.noise.seeds.items() if k.metric == "top1"}
        known = Noise({**known.seeds, **spread.seeds, **ten}, {})
    return Baseline(before, known), after


def _side(
    real: Measured, random: np.random.Generator, seeds: int, attacked: np.ndarray
) -> Measured:
    made = _curves(real, {net: random.integers(0, 10, seeds) for net in NETS}, attacked)
    numbers = dict(made.numbers)
    for net in NETS:
        ten = [*real.numbers[Key(*net, "accuracy", "top1")].values.values()]
        top1 = np.mean(ten) + np.std(ten, ddof=1) * random.normal(size=seeds)
        mean, spread = SPEEDS[net[2]]
        speed = mean * np.exp(spread * random.normal(size=seeds))
        for key, number in (
            (Key(*net, "accuracy", "top1"), Number("%", "higher", by_seed(top1))),
            (Key(*net, "efficiency", "images_per_second"), Number("", "higher", by_seed(speed))),
        ):
            numbers[key] = number
    return replace(made, numbers=numbers)


def by_seed(values: np.ndarray) -> dict[int, float]:
    return dict(enumerate(values.tolist()))


def _curves(
    real: Measured, chosen: dict[tuple[str, str, str], np.ndarray], attacked: np.ndarray
) -> Measured:
    """The attacks of some of the ten networks, on these images."""
    curves = {
        (Trained(*net, seed), attack): Attacked(
            real.attacked[Trained(*net, int(place)), attack].l2[attacked], np.arange(200)
        )
        for net, places in chosen.items()
        for seed, place in enumerate(places)
        for attack in ("additive_gaussian", "gaussian_blur")
    }
    return replace(real, numbers={}, correct={}, weights={}, attacked=curves).up_to({})


def lost(points: float, variants: tuple[str, ...] = ("bu", "td")) -> Change:
    """Take points of accuracy from every seed."""

    def change(run: Measured) -> Measured:
        return _scaled(run, ("accuracy", "top1"), variants, lambda value: value - points)

    return change


def slower(share: float, variants: tuple[str, ...] = ("bu", "td")) -> Change:
    """Take a share of the speed of every seed."""

    def change(run: Measured) -> Measured:
        metric = ("efficiency", "images_per_second")
        return _scaled(run, metric, variants, lambda value: value * (1 - share))

    return change


def _scaled(
    run: Measured,
    metric: tuple[str, str],
    variants: tuple[str, ...],
    change: Callable[[float], float],
) -> Measured:
    numbers = {
        key: replace(number, values={s: change(v) for s, v in number.values.items()})
        if key[3:] == metric and key.variant in variants
        else number
        for key, number in run.numbers.items()
    }
    return replace(run, numbers=numbers)
