"""Faithfulness in numbers: how a class goes and comes with the pixels that its heatmap marks.

Deletion and insertion of Petsiuk et al., "RISE" (BMVC 2018). Variants are compared on the same
images, each from its own clean probability on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from leaderboard.numbers.bootstrap import REPLICATES, Resampled, Resamples, resampled
from leaderboard.numbers.pairing import (
    Estimate,
    common_images,
    common_seeds,
    comparable,
    estimates,
    rows_of,
)
from leaderboard.numbers.summary import BASELINE
from leaderboard.results import Removed, Results

Floats = NDArray[np.float64]
FIGURES = ("deletion_auc", "insertion_auc")


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Probability of the class in percent of the clean one after each step, mean over images and
    seeds, with the sample standard deviation over seeds (0 for a single seed)."""

    mean: Floats
    sd: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Removal:
    """One network; `figures` are areas under its curves, in percent of the clean probability."""

    variant: str
    deletion: Curve
    insertion: Curve
    figures: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Variants of one backbone on the same `images`. `shares` are the shares of the pixels, in
    percent, that are removed or inserted after each step."""

    backbone: str
    item: str
    seeds: tuple[int, ...]
    images: int
    shares: Floats
    networks: tuple[Removal, ...]


def compare(results: Results, dataset: str, replicates: int = REPLICATES) -> list[Comparison]:
    """The variants of each backbone (and item) on the images that all have, seed by seed; one by
    one where they have no seed, no image or not the number of steps in common.

    Raises:
        ValueError: a seed comes twice.
    """
    draw = cache(lambda images: Resamples(images, replicates))
    found: list[Comparison] = []
    for variants in comparable(results.removed, dataset, "faithfulness"):
        steps = {cell.deletion.shape[1] for of in variants.values() for cell in of.values()}
        groups = [variants] if len(steps) == 1 else [{k: v} for k, v in variants.items()]
        for group in groups:
            images = common_images(group, common_seeds(group))
            found.append(_compared(group, images, draw(len(images))))
    return found


def relative(cell: Removed, rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Deletion and insertion of these rows as multiples of the clean probability, n x S + 1."""
    clean = np.maximum(cell.clean[rows], np.finfo(np.float64).tiny)[:, None]
    return cell.deletion[rows] / clean, cell.insertion[rows] / clean


def _compared(
    variants: Mapping[str, Mapping[int, Removed]], images: NDArray[np.int64], draws: Resamples
) -> Comparison:
    seeds = common_seeds(variants)
    first = variants[next(iter(variants))][seeds[0]]
    curves = {
        net: [relative(of[seed], rows_of(images, of[seed])) for seed in seeds]
        for net, of in variants.items()
    }
    shares = _shares([of[seed] for of in variants.values() for seed in seeds])
    found = {net: _areas(of_seeds, shares, draws) for net, of_seeds in curves.items()}
    base = found.get(BASELINE)
    networks = tuple(
        Removal(
            net,
            _curve([deleted for deleted, _ in curves[net]]),
            _curve([inserted for _, inserted in curves[net]]),
            estimates(FIGURES, found[net], base if net != BASELINE else None, draws, np.inf),
        )
        for net in variants
    )
    return Comparison(first.backbone, first.item, (*seeds,), len(images), 100 * shares, networks)


def _shares(cells: Sequence[Removed]) -> Floats:
    """Share of the pixels that are removed or inserted after each step, S + 1 from 0 to 1."""
    steps = cells[0].deletion.shape[1] - 1
    # Whole pixels, as they were taken; equal steps where it is not known how many there are.
    pixels = next((cell.pixels for cell in cells if cell.pixels), steps)
    return np.asarray(np.arange(steps + 1) * pixels // steps / pixels)


def _areas(
    of_seeds: Sequence[tuple[Floats, Floats]], shares: Floats, draws: Resamples
) -> dict[str, Resampled]:
    """Areas under the curves of the seeds, in percent, resampled."""
    tables = [
        np.stack([*(_area(curve, shares) for curve in curves), np.ones(len(curves[0]))])
        for curves in of_seeds
    ]

    def means(sums: Floats) -> dict[str, Floats]:
        return {name: 100.0 * sums[:, k] / sums[:, -1] for k, name in enumerate(FIGURES)}

    return resampled(means, tables, draws)


def _area(curve: Floats, shares: Floats) -> Floats:
    """Area of each row over the shares, by trapezoids."""
    return np.asarray(((curve[:, 1:] + curve[:, :-1]) / 2 * np.diff(shares)).sum(1))


def _curve(of_seeds: Sequence[Floats]) -> Curve:
    means = np.stack([100.0 * curve.mean(0) for curve in of_seeds])
    sd = means.std(0, ddof=1) if len(means) > 1 else np.zeros(means.shape[1])
    return Curve(means.mean(0), sd)
