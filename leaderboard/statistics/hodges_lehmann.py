"""Ratios of speeds, measured in turn: Hodges-Lehmann's estimate with Wilcoxon's test.

Timings have long tails, which a mean follows and ranks do not. The estimate is the median of the
Walsh averages (d_i + d_j) / 2, i <= j, of the logarithms of the ratios; the interval ends at the
order statistics of these that the exact distribution of the signed-rank statistic gives (Hollander,
Wolfe and Chicken, "Nonparametric Statistical Methods", sections 3.1 to 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]

_EXACT = 200  # pairs; beyond, the normal approximation is the same to four digits


@dataclass(frozen=True, slots=True)
class Shift:
    """A location with the ends of its confidence interval, and Wilcoxon's two-sided p-value.

    The ends are infinite where there are too few values for the level.
    """

    value: float
    low: float
    high: float
    p_value: float
    pairs: int

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def log_ratio(before: Sequence[float], after: Sequence[float], level: float = 0.99) -> Shift:
    """log(after / before) of quantities above 0, measured in pairs."""
    one, other = (np.asarray(values, dtype=np.float64) for values in (before, after))
    if one.shape != other.shape or one.ndim != 1 or not one.size:
        raise ValueError(f"not pairs: {one.shape} and {other.shape}")
    if not bool((one > 0).all() and (other > 0).all()):
        raise ValueError("a ratio needs values above 0")
    return shift(np.log(other / one), level)


def shift(values: Floats, level: float = 0.99) -> Shift:
    """Where the (pseudo-)median of values lies."""
    count = len(values)
    rows, columns = np.triu_indices(count)
    averages = np.sort((values[rows] + values[columns]) / 2)
    # Outside of [c-th smallest, c-th largest] with at most (1 - level) / 2 on each side.
    place = _quantile(count, (1 - level) / 2)
    low, high = -math.inf, math.inf
    if place > 0:
        low, high = float(averages[place - 1]), float(averages[-place])
    return Shift(float(np.median(averages)), low, high, _wilcoxon(values), count)


def _wilcoxon(values: Floats) -> float:
    from scipy.stats import wilcoxon

    # Pairs without a difference count as ranks of no sign (Pratt): "equal" is evidence, too.
    return float(wilcoxon(values, zero_method="zsplit").pvalue) if bool(values.any()) else 1.0


def _quantile(count: int, tail: float) -> int:
    """The largest c with P(T <= c - 1) <= tail for the signed-rank statistic T; 0 if none."""
    if count > _EXACT:
        mean, variance = count * (count + 1) / 4, count * (count + 1) * (2 * count + 1) / 24
        return max(0, math.floor(mean + float(ndtri(tail)) * math.sqrt(variance)))
    ways = np.zeros(count * (count + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, count + 1):  # each rank has either sign
        ways[rank:] = (ways[rank:] + ways[:-rank]) / 2
        ways[:rank] /= 2
    return int(np.searchsorted(np.cumsum(ways), tail, side="right"))
