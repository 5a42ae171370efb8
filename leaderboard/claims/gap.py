"""One difference that a claim is about, and the mean of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from leaderboard.results import MetricInfo

Floats = NDArray[np.float64]

Net = tuple[str, str, str]  # data set, backbone, variant


@dataclass(frozen=True, slots=True, eq=False)
class Gap:
    """A network's number less a rival's.

    `rival` is a variant ("bu"), another backbone and its variant ("resnet18 bu"), or an input of
    the network itself. `values` has a difference for each of the `seeds` in common: in points, or
    with `ratio` the logarithm of the quotient. `images` is the part of the variance of their mean
    that images have. `mine` and `other` are the means. `exact` numbers are counted, so that a
    single seed tells them. `numbers` are those that the mean is taken over, as `measure/metric`;
    `info` is how they are shown where they are not percentages, `flags` what speaks against them.
    `chosen_from` is the number of candidates that the network's side was the most extreme of, in
    these same numbers: each of them could have given the difference.
    """

    dataset: str
    backbone: str
    variant: str
    rival: str
    seeds: tuple[int, ...]
    values: Floats
    mine: float
    other: float
    numbers: tuple[str, ...]
    images: float = 0.0
    ratio: bool = False
    exact: bool = False
    info: MetricInfo | None = None
    flags: tuple[str, ...] = ()
    chosen_from: int = 1

    @property
    def net(self) -> tuple[str, str, str]:
        """The network that the claim is about."""
        return self.dataset, self.backbone, self.variant


def mean_of(group: Sequence[Gap]) -> Gap | None:
    """The mean over all numbers of differences that were found in several ways; None without a seed
    in common. What images bring to each is taken to go together, as the images are the same."""
    first = group[0]
    if len(group) == 1:
        return first
    seeds = tuple(sorted(set.intersection(*({*gap.seeds} for gap in group))))
    if not seeds:
        return None
    count = [len(gap.numbers) for gap in group]
    shares = np.array(count, dtype=np.float64) / sum(count)
    values = [gap.values[[gap.seeds.index(seed) for seed in seeds]] for gap in group]
    mine, other = (
        average(np.array([getattr(gap, side) for gap in group]), first.ratio, shares)
        for side in ("mine", "other")
    )
    return replace(
        first,
        seeds=seeds,
        values=shares @ np.array(values),
        mine=mine,
        other=other,
        numbers=tuple(name for gap in group for name in gap.numbers),
        images=float(shares @ np.sqrt([gap.images for gap in group])) ** 2,
        exact=all(gap.exact for gap in group),
        flags=tuple(dict.fromkeys(flag for gap in group for flag in gap.flags)),
    )


def average(values: Floats, ratio: bool, shares: Floats) -> float:
    """The arithmetic mean, or of numbers that are divided by each other the geometric mean."""
    if ratio:
        return float(np.exp(shares @ np.log(values)))
    return float(shares @ values)
