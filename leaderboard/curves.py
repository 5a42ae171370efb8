"""Accuracy loss against the size of the perturbation: the numbers behind the figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leaderboard.results import Sample

Floats = NDArray[np.float64]

_POINTS = 401  # along x: finer than the pixels of a panel
_SHARE = 95.0  # percent of a net's fooled samples that its panel shows at least
_FEW = 0.05  # a net fooled on less than this share does not stretch the axis for all others


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


def panels(samples: Iterable[Sample], dataset: str) -> list[Panel]:
    """A panel for each attack on `dataset`, in the order of the samples."""
    attacks: dict[str, dict[tuple[str, str], list[Floats]]] = {}
    for sample in samples:
        if sample.dataset == dataset:
            nets = attacks.setdefault(sample.attack, {})
            nets.setdefault((sample.backbone, sample.variant), []).append(sample.l2)
    return [_panel(attack, nets) for attack, nets in attacks.items()]


def _panel(attack: str, nets: dict[tuple[str, str], list[Floats]]) -> Panel:
    bounds = np.linspace(0.0, upper_bound([*nets.values()]), _POINTS)
    curves = []
    for (backbone, variant), seeds in nets.items():
        stack = np.stack([loss_curve(l2, bounds) for l2 in seeds])
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
        "network's fooled images, leaving out networks that are hardly ever fooled."
    )


def upper_bound(nets: Sequence[Sequence[Floats]]) -> float:
    """Where the x axis ends: it holds 95 % of the fooled samples of each net.

    Nets that are hardly ever fooled (less than 5 % of the images) do not count unless all are
    like that: three far outliers would squeeze every other curve into the corner.
    """
    pooled = [np.concatenate([*seeds]) for seeds in nets]
    fooled = [l2[(l2 > 0) & np.isfinite(l2)] for l2 in pooled]
    telling = [hit for hit, l2 in zip(fooled, pooled, strict=True) if hit.size >= _FEW * l2.size]
    ends = [float(np.percentile(hit, _SHARE)) for hit in telling or fooled if hit.size]
    return _round_up(max(ends)) if ends else 1.0


def _round_up(value: float) -> float:
    """To two significant digits, so that axes of like runs agree."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit * (1 - 1e-12)) * unit:.12g}")
