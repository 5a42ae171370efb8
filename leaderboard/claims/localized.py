"""Precision and recall of two networks' heatmaps on the images that both classify correctly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leaderboard.numbers.pairing import common_images, common_seeds, networks, rows_of
from leaderboard.results import Localized, Results

Floats = NDArray[np.float64]

Rival = tuple[str, str]
"""A network of the same data set: its backbone and variant."""

FIGURES = ("precision", "recall", "iou")


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """One figure of two networks, in percent: seeds x images, whose mean over the images is the
    figure of all pixels together."""

    backbone: str
    item: str
    variant: str
    rival: Rival
    seeds: tuple[int, ...]
    figure: str
    mine: Floats
    other: Floats


def located(
    results: Results, dataset: str, rivals: Callable[[str, str], Iterable[Rival]]
) -> Iterator[Located]:
    """Every network against those that `rivals(backbone, variant)` names, as section 4.3 (b) of the
    paper compares two: on images that both classify correctly with the same seed, at the reported
    threshold. Of several heatmaps of a network, those of the same item are compared."""
    found = networks(results.localized, dataset, "localization")
    for (backbone, item), variants in found.items():
        for variant, cells in variants.items():
            for rival in rivals(backbone, variant):
                others = found.get((rival[0], item), {}).get(rival[1])
                if others is None:
                    continue
                for found_of in _compared(cells, others):
                    yield Located(backbone, item, variant, rival, *found_of)


def _compared(
    cells: Mapping[int, Localized], others: Mapping[int, Localized]
) -> Iterator[tuple[tuple[int, ...], str, Floats, Floats]]:
    """Seeds, and figures of two networks that can be told, on the seeds and images of both."""
    pair = {"mine": cells, "other": others}
    seeds = common_seeds(pair)
    if not seeds or not (images := common_images(pair, seeds)).size:
        return
    rows = [_figures(images, cells[seed], others[seed]) for seed in seeds]
    for number, figure in enumerate(FIGURES):
        mine, other = (np.stack([row[side][number] for row in rows]) for side in (0, 1))
        if np.isfinite([mine, other]).all():
            yield tuple(seeds), figure, mine, other


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
