"""Accuracy loss against the size of the perturbation: the numbers behind the figures."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leaderboard.results import AttackInfo, Sample

Floats = NDArray[np.float64]

_POINTS = 401  # along x: finer than the pixels of a panel
_SHARE = 95.0  # percent of a net's fooled samples that its panel shows at least
_FEW = 0.05  # a net fooled on less than this share does not stretch the axis for all others
_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
# A perturbation projected to an L2 of 1 has 1.0000002 in float32, and counts as 1.
REACHED = 1 + 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One network in one panel: mean over seeds, with the lowest and highest seed around it."""

    backbone: str
    variant: str
    seeds: int
    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One attack: all curves over the same bounds; `images` are the sizes of the samples."""

    attack: str
    bounds: Floats
    curves: tuple[Curve, ...]
    images: frozenset[int]


def loss_curve(l2: Floats, bounds: Floats) -> Floats:
    """Points of accuracy lost to perturbations of at most each bound.

    100 * (images classified correctly, and fooled with L2 <= bound) / (all images): an image
    misclassified already has L2 0 and cannot be lost again.
    """
    fooled = np.sort(l2[(l2 > 0) & np.isfinite(l2)])
    return 100.0 * np.searchsorted(fooled, bounds, side="right") / l2.size


def panels(
    samples: Iterable[Sample],
    dataset: str,
    infos: Mapping[str, AttackInfo] | None = None,
    nets: Collection[tuple[str, str]] | None = None,
    limits: Mapping[str, float] | None = None,
) -> list[Panel]:
    """A panel for each attack on `dataset`, in the order of the samples.

    With `nets`, curves are of these alone, up to the same L2 as of all; an attack on none of them
    has no panel. `limits` are those of the attacks where they are known already.
    """
    found = []
    for attack, some in by_attack(samples, dataset).items():
        drawn = [s for s in some if nets is None or (s.backbone, s.variant) in nets]
        if drawn:
            end = (limits or {}).get(attack) or limit(some, (infos or {}).get(attack))
            found.append(_panel(attack, drawn, end))
    return found


def by_attack(samples: Iterable[Sample], dataset: str) -> dict[str, list[Sample]]:
    """The samples of one data set, by attack."""
    attacks: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.dataset == dataset:
            attacks.setdefault(sample.attack, []).append(sample)
    return attacks


def by_net(samples: Iterable[Sample]) -> dict[tuple[str, str], list[Sample]]:
    """Samples by backbone and variant: the seeds of each network."""
    nets: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        nets.setdefault((sample.backbone, sample.variant), []).append(sample)
    return nets


def _panel(attack: str, samples: Sequence[Sample], end: float) -> Panel:
    bounds = np.linspace(0.0, end, _POINTS)
    reach = bounds.copy()
    reach[-1] *= REACHED
    nets = {net: [sample.l2 for sample in seeds] for net, seeds in by_net(samples).items()}
    curves = []
    for (backbone, variant), seeds in nets.items():
        stack = np.stack([loss_curve(l2, reach) for l2 in seeds])
        low, high = stack.min(axis=0), stack.max(axis=0)
        curves.append(Curve(backbone, variant, len(seeds), stack.mean(axis=0), low, high))
    images = frozenset(l2.size for seeds in nets.values() for l2 in seeds)
    return Panel(attack, bounds, tuple(curves), images)


def caption(panels: Sequence[Panel]) -> str:
    """What the figure of these panels shows and how it was measured, in plain sentences."""
    images = " or ".join(map(str, sorted(set().union(*(panel.images for panel in panels)))))
    seeds = sorted({curve.seeds for panel in panels for curve in panel.curves})
    count = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
    lines = (
        f"Lines are means over {count} seeds; bands span the lowest to the highest seed."
        if seeds[-1] > 1
        else "One seed per network."
    )
    return (
        f"Accuracy loss is the share of all {images} images that are classified correctly when "
        "clean and fooled by a perturbation of at most the given L₂ size (pixel values from 0 "
        f"to 1); lower is more robust. {lines} The horizontal axes hold at least 95 % of each "
        "network's fooled images, leaving out networks that are hardly ever fooled, or end at an "
        "attack's strongest epsilon in L₂."
    )


def limit(samples: Sequence[Sample], info: AttackInfo | None = None) -> float:
    """The L2 up to which an attack is looked at on the data set of these samples: what the suite
    says, its strongest epsilon in L2, or `upper_bound`."""
    fixed = {} if info is None or not samples else dict(info.limits)
    if fixed and samples[0].dataset in fixed:
        return fixed[samples[0].dataset]
    if info is not None and info.norm == "L2" and info.strengths:
        return max(info.strengths)
    return upper_bound([[s.l2 for s in seeds] for seeds in by_net(samples).values()])


def upper_bound(nets: Sequence[Sequence[Floats]]) -> float:
    """The L2 that holds 95 % of the fooled samples of each net, rounded up to 1, 1.5, 2, 3, 4, 5,
    6 or 8 times a power of ten, so that like runs agree.

    Nets that are hardly ever fooled (less than 5 % of the images) do not count unless all are
    like that: three far outliers would squeeze every other curve into the corner.
    """
    pooled = [np.concatenate([*seeds]) for seeds in nets]
    fooled = [l2[(l2 > 0) & np.isfinite(l2)] for l2 in pooled]
    telling = [hit for hit, l2 in zip(fooled, pooled, strict=True) if hit.size >= _FEW * l2.size]
    ends = [float(np.percentile(hit, _SHARE)) for hit in telling or fooled if hit.size]
    return _round_up(max(ends)) if ends else 1.0


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    step = next(step for step in _STEPS if step * power >= value * (1 - 1e-12))
    return float(f"{step * power:.12g}")
