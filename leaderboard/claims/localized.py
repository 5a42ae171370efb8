"""Precision and recall of two networks' heatmaps on the images that both classify correctly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leaderboard.pairing import common_images, common_seeds, comparable, rows_of
from leaderboard.results import Localized, Results

Floats = NDArray[np.float64]

FIGURES = ("precision", "recall", "iou")


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """One figure of two variants, in percent: seeds x images, whose mean over the images is the
    figure of all pixels together."""

    backbone: str
    item: str
    variant: str
    rival: str
    figure: str
    mine: Floats
    other: Floats


def located(results: Results, dataset: str) -> Iterator[Located]:
    """Every pair of variants and every figure, as section 4.3 (b) of the paper compares them: on
    images that both classify correctly with the same seed, at the reported threshold."""
    for group in comparable(results.localized, dataset, "localization"):
        for variant, cells in group.items():
            for rival, others in group.items():
                pair = {variant: cells, rival: others}
                if rival == variant or not (seeds := common_seeds(pair)):
                    continue
                images = common_images(pair, seeds)
                first = cells[seeds[0]]
                rows = [_figures(images, cells[seed], others[seed]) for seed in seeds]
                for number, figure in enumerate(FIGURES):
                    mine, other = (np.stack([row[side][number] for row in rows]) for side in (0, 1))
                    if np.isfinite([mine, other]).all():
                        named = (first.backbone, first.item, variant, rival, figure)
                        yield Located(*named, mine, other)


def _figures(
    images: NDArray[np.int64], mine: Localized, other: Localized
) -> tuple[list[Floats], list[Floats]]:
    cells = [(cell, rows_of(images, cell)) for cell in (mine, other)]
    judged = np.logical_and.reduce([cell.correct[rows] for cell, rows in cells])
    sides = []
    for cell, rows in cells:
        hit, beside, missed = (
            counts[rows, cell.at] * judged for counts in (cell.tp, cell.fp, cell.fn)
        )
        wholes = (hit + beside, hit + missed, hit + beside + missed)
        sides.append([_linear(hit, whole) for whole in wholes])
    return sides[0], sides[1]


def _linear(part: NDArray[np.integer], whole: NDArray[np.integer]) -> Floats:
    """Percentages, one an image, whose mean is the ratio of the sums and whose spread is what an
    image does to it (the delta method); NaN without any pixel."""
    if not whole.sum():
        return np.full(len(part), np.nan)
    ratio = part.sum() / whole.sum()
    moved: Floats = 100.0 * (ratio + (part - ratio * whole) / whole.mean())
    return moved
