"""Networks on the same seeds and images: what a fair comparison of variants takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from leaderboard.numbers.bootstrap import Interval, Resampled, Resamples, resampled_interval
from leaderboard.numbers.summary import Summary, summarize

Verdict = Literal["higher", "lower", "inconclusive"]


class Indexed(Protocol):
    """A trained network's results, image by image; `index` are the images' numbers."""

    @property
    def index(self) -> NDArray[np.int64]: ...

    @property
    def dataset(self) -> str: ...

    @property
    def backbone(self) -> str: ...

    @property
    def variant(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def item(self) -> str: ...


Kind = TypeVar("Kind", bound=Indexed)
BySeed = Mapping[int, Kind]


@dataclass(frozen=True, slots=True)
class Estimate:
    """One figure of one network, in percent.

    `summary` is over the seeds that have the figure (precision is 0/0 where nothing is predicted),
    `interval` the mean with its confidence interval, `against` the difference to the bottom-up
    network in points, seeds and images paired (None for that one itself, or without one), over the
    `paired` seeds that have the figure of both.
    """

    summary: Summary
    interval: Interval
    against: Interval | None
    paired: int = 0


def verdict(against: Interval) -> Verdict:
    """What a difference to the bottom-up network says: nothing, if its interval holds 0."""
    if against.low > 0:
        return "higher"
    return "lower" if against.high < 0 else "inconclusive"


def networks(
    cells: Sequence[Kind], dataset: str, measure: str
) -> dict[tuple[str, str], dict[str, dict[int, Kind]]]:
    """Backbone and item to variant to seed to cell, of one data set.

    Raises:
        ValueError: a seed comes twice.
    """
    found: dict[tuple[str, str], dict[str, dict[int, Kind]]] = {}
    for cell in cells:
        if cell.dataset == dataset:
            variants = found.setdefault((cell.backbone, cell.item), {})
            seeds = variants.setdefault(cell.variant, {})
            if cell.seed in seeds:
                raise ValueError(f"{name_of(cell, measure)}: seed {cell.seed} comes twice")
            seeds[cell.seed] = cell
    return found


def comparable(
    cells: Sequence[Kind], dataset: str, measure: str
) -> list[dict[str, dict[int, Kind]]]:
    """Variant to seed to cell, for the variants of each backbone (and item) that have a seed and
    images in common; one by one where they have none.

    Raises:
        ValueError: a seed comes twice.
    """
    return [
        group
        for variants in networks(cells, dataset, measure).values()
        for group in ([variants] if _alike(variants) else [{k: v} for k, v in variants.items()])
    ]


def name_of(cell: Indexed, measure: str) -> str:
    """`dataset/backbone/variant/measure/item`."""
    parts = (cell.dataset, cell.backbone, cell.variant, measure, cell.item)
    return "/".join(part for part in parts if part)


def common_seeds(variants: Mapping[str, BySeed[Kind]]) -> list[int]:
    """The seeds that all have."""
    return sorted(set.intersection(*(set(cells) for cells in variants.values())))


def common_images(variants: Mapping[str, BySeed[Kind]], seeds: Sequence[int]) -> NDArray[np.int64]:
    """Numbers of the images that all have, rising."""
    indices = [cells[seed].index for cells in variants.values() for seed in seeds]
    common = np.unique(indices[0])
    for index in indices[1:]:
        common = np.intersect1d(common, index, assume_unique=True)
    return common


def rows_of(images: NDArray[np.int64], cell: Indexed) -> NDArray[np.intp]:
    """The rows of a cell's arrays that these images, which it has, are in."""
    order = np.argsort(cell.index)
    return order[np.searchsorted(cell.index, images, sorter=order)]


def estimates(
    names: Sequence[str],
    found: Mapping[str, Resampled],
    base: Mapping[str, Resampled] | None,
    draws: Resamples,
    most: float = 100.0,
) -> dict[str, Estimate]:
    """Means over seeds of percentages, 0 to `most`, with their intervals, and differences to the
    baseline's; one that no seed has is left out."""
    known: dict[str, Estimate] = {}
    for name in names:
        own = found[name]
        mean = resampled_interval(own, draws, (0.0, most))
        if mean is not None:
            values = own.per_seed[~np.isnan(own.per_seed)]
            gap = None if base is None else own - base[name]
            against = None if gap is None else resampled_interval(gap, draws, (-most, most))
            paired = 0 if gap is None else int((~np.isnan(gap.per_seed)).sum())
            known[name] = Estimate(summarize(values.tolist()), mean, against, paired)
    return known


def _alike(variants: Mapping[str, BySeed[Kind]]) -> bool:
    """Whether they can be compared."""
    seeds = common_seeds(variants)
    return bool(seeds) and bool(common_images(variants, seeds).size)
