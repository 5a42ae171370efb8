"""Localization in numbers: which variant's heatmaps lie on the objects.

As in section 4.3 (b) of "Top-Down Networks" (Lelekas et al. 2020), variants are compared on the
images that all of them classify correctly: a heatmap of a wrong class has no object to find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leaderboard.numbers.bootstrap import REPLICATES, Resamples, resampled
from leaderboard.numbers.pairing import (
    Estimate,
    common_images,
    common_seeds,
    comparable,
    estimates,
    name_of,
    rows_of,
)
from leaderboard.numbers.summary import BASELINE
from leaderboard.results import Localized, Results

Floats = NDArray[np.float64]

_RATIOS = ("precision", "recall", "iou", "precision_macro", "recall_macro", "iou_macro")
FIGURES = (*_RATIOS, "pxap")
_OBJECTS = 2 * _RATIOS.index("recall") + 1  # the sum of the objects' pixels
_Draw = Callable[[int], Resamples]


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """Precision and recall in percent at each threshold, all images together: means over seeds
    with sample standard deviations (0 for a single seed); NaN where a seed predicts nothing."""

    precision: Floats
    precision_sd: Floats
    recall: Floats
    recall_sd: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Localizer:
    """One network; `figures` has one of `FIGURES` only where some seed has it. `empty` tells for
    each seed in how many images nothing is predicted, so that they have no precision."""

    variant: str
    figures: Mapping[str, Estimate]
    empty: tuple[int, ...]
    sweep: Sweep


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Variants of one backbone on the same images: of each of `seeds` as many as `images` says, out
    of `looked_at` that all of them have. `at` is the place of the reported `threshold`.
    `share` is the object's share of all pixels in percent, where it is known: the precision (and
    IoU) of a heatmap that marks everything."""

    backbone: str
    item: str
    seeds: tuple[int, ...]
    images: tuple[int, ...]
    looked_at: int
    thresholds: Floats
    threshold: float
    at: int
    networks: tuple[Localizer, ...]
    share: float | None = None


def compare(results: Results, dataset: str, replicates: int = REPLICATES) -> list[Comparison]:
    """The variants of each backbone (and item) on the images that all of them classify correctly,
    seed by seed; one by one where they have no seed, or no image, in common.

    Images without an object do not count. Intervals are of so many `replicates`.

    Raises:
        ValueError: a seed comes twice, one network's seeds have no image in common, or thresholds
            differ.
    """
    draw = cache(lambda images: Resamples(images, replicates))
    groups = comparable(results.localized, dataset, "localization")
    return [_compared(variants, draw) for variants in groups]


def pixel_average_precision(tp: Floats, predicted: Floats, objects: Floats) -> Floats:
    """PxAP: the sum, over rising recall, of precision times the gain in recall (Choe et al.,
    "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020).

    Args:
        tp: predicted pixels of the object at T rising thresholds, ... x T.
        predicted: all predicted pixels, likewise.
        objects: pixels of the object, one number for all thresholds: ....

    Returns:
        Values in [0, 1], ...; NaN where there is no object.
    """
    recall = _ratio(tp, objects[..., None])
    gains = -np.diff(recall, append=0.0, axis=-1)
    # Where nothing is predicted yet, recall has not risen: any precision does.
    return np.asarray((np.nan_to_num(_ratio(tp, predicted)) * gains).sum(-1))


def _name(cell: Localized) -> str:
    return name_of(cell, "localization")


def _compared(variants: Mapping[str, Mapping[int, Localized]], draw: _Draw) -> Comparison:
    seeds = common_seeds(variants)
    images = common_images(variants, seeds)
    first = next(iter(variants.values()))[seeds[0]]
    if not images.size:
        raise ValueError(f"{_name(first)}: seeds {(*seeds,)} have no image in common")
    cells = {net: [_on(images, of[seed], first) for seed in seeds] for net, of in variants.items()}
    judged = [_judged(of_seed) for of_seed in zip(*cells.values(), strict=True)]
    counts = {
        net: [_counts(cell, which) for cell, which in zip(of, judged, strict=True)]
        for net, of in cells.items()
    }
    draws = draw(len(images))
    found = {
        net: resampled(_figures, [one.table for one in of], draws) for net, of in counts.items()
    }
    base = found.get(BASELINE)
    return Comparison(
        first.backbone,
        first.item,
        (*seeds,),
        tuple(int(which.sum()) for which in judged),
        len(images),
        first.thresholds,
        first.threshold,
        first.at,
        tuple(
            Localizer(
                net,
                estimates(FIGURES, found[net], base if net != BASELINE else None, draws),
                tuple(one.empty for one in counts[net]),
                _sweep([one.table for one in counts[net]]),
            )
            for net in variants
        ),
        _object_share(next(iter(cells.values())), judged),
    )


def _object_share(cells: Sequence[Localized], judged: Sequence[NDArray[np.bool_]]) -> float | None:
    """Percent of the judged images' pixels that are the object's; None where it is not known."""
    pixels = objects = 0
    for cell, which in zip(cells, judged, strict=True):
        if cell.pixels is None:
            return None
        pixels += cell.pixels * int(which.sum())
        objects += int((cell.tp[which, 0] + cell.fn[which, 0]).sum())
    return 100.0 * objects / pixels if pixels else None


def _on(images: NDArray[np.int64], cell: Localized, first: Localized) -> Localized:
    """A cell's rows for these images."""
    if cell.at != first.at or not np.array_equal(cell.thresholds, first.thresholds):
        raise ValueError(f"{_name(cell)}: thresholds differ from those of {_name(first)}")
    rows = rows_of(images, cell)
    names = ("index", "correct", "tp", "fp", "fn")
    return replace(cell, **{name: getattr(cell, name)[rows] for name in names})


def _judged(cells: Sequence[Localized]) -> NDArray[np.bool_]:
    """Images with an object that every network classifies correctly."""
    right = np.logical_and.reduce([cell.correct for cell in cells])
    return np.asarray(right & (cells[0].tp[:, 0] + cells[0].fn[:, 0] > 0))


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """One network of one seed: what is summed over the images, K x n (see `_figures`), and in how
    many of them nothing is predicted."""

    table: Floats
    empty: int


def _counts(cell: Localized, judged: NDArray[np.bool_]) -> _Counted:
    """Of an image that is not judged, all is 0."""
    tp, fp, fn = (counts.T * judged for counts in (cell.tp, cell.fp, cell.fn))
    hit, predicted, objects = tp[cell.at], tp[cell.at] + fp[cell.at], tp[0] + fn[0]
    wholes = predicted, objects, objects + fp[cell.at]
    rows = [row for whole in wholes for row in (hit, whole)]
    for whole in wholes:
        rows += [np.nan_to_num(_ratio(hit, whole)), whole > 0]
    # Below all thresholds everything is predicted: there PxAP ends.
    ends = (tp[0], tp[0] + fp[0]) if cell.pixels is None else (objects, cell.pixels * judged)
    table = np.vstack([*rows, ends[0], tp, ends[1], tp + fp]).astype(np.float64)
    return _Counted(table, int((judged & (predicted == 0)).sum()))


def _figures(sums: Floats) -> dict[str, Floats]:
    """Percentages R from R x K sums: of each ratio its two parts, then the object's predicted
    pixels below and at each of T thresholds, then all predicted ones."""
    parts, tp, predicted = _parts(sums)
    found = {
        name: 100.0 * _ratio(parts[:, 2 * number], parts[:, 2 * number + 1])
        for number, name in enumerate(_RATIOS)
    }
    return found | {"pxap": 100.0 * pixel_average_precision(tp, predicted, parts[:, _OBJECTS])}


def _parts(sums: Floats) -> tuple[Floats, Floats, Floats]:
    ratios, swept = sums[:, : 2 * len(_RATIOS)], sums[:, 2 * len(_RATIOS) :]
    tp, predicted = np.split(swept, 2, axis=1)
    return ratios, tp, predicted


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """NaN for 0/0."""
    part, whole = np.broadcast_arrays(part, whole)
    found: Floats = np.full(part.shape, np.nan)
    np.divide(part, whole, out=found, where=whole > 0)
    return found


def _sweep(tables: Sequence[Floats]) -> Sweep:
    """Over the seeds that have any image."""
    parts, *swept = _parts(np.stack([table.sum(1) for table in tables]))
    tp, predicted = (column[:, 1:] for column in swept)
    any_image = parts[:, _OBJECTS] > 0
    tp, predicted, objects = tp[any_image], predicted[any_image], parts[any_image, _OBJECTS, None]
    if not len(tp):
        nothing = np.full(tp.shape[1], np.nan)
        return Sweep(nothing, nothing, nothing, nothing)
    precision, recall = 100.0 * _ratio(tp, predicted), 100.0 * _ratio(tp, objects)
    return Sweep(precision.mean(0), _deviation(precision), recall.mean(0), _deviation(recall))


def _deviation(per_seed: Floats) -> Floats:
    found: Floats = per_seed.std(0, ddof=1) if len(per_seed) > 1 else 0.0 * per_seed[0]
    return found
