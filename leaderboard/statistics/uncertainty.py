"""How sure a mean over seeds (and images) is: standard error, intervals, p-values.

Two things make a mean uncertain: networks of other seeds would have had other values, which is
known from a handful of seeds only, and other images, of which there are hundreds. The variance of
the mean is the sum of both, and its critical value lies between Student's t of the seeds and the
normal's, weighted by their shares in the variance (Cochran, "Approximate significance levels of the
Behrens-Fisher test", Biometrics 20, 1964). Satterthwaite's degrees of freedom, the usual way, hold
the truth in 86 of 100 cases with two seeds; this in 94 to 98 (tests/statistics/test_coverage.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Side = Literal["two", "above", "below"]

LEVEL = 0.95
_ROUNDING = 1e-10  # of a value


@dataclass(frozen=True, slots=True)
class Uncertain:
    """A mean with the two parts of its variance.

    `seeds` is the part of `freedom` degrees of freedom, `images` the part that counts as known.
    Without any variance the mean is exact.
    """

    mean: float
    seeds: float
    freedom: float
    images: float = 0.0

    @property
    def variance(self) -> float:
        """Of the mean: both parts together."""
        return self.seeds + self.images

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(self.variance)

    def reach(self, probability: float) -> float:
        """How far the mean is from the truth, with that probability at most, to one side."""
        return self.error * critical(self.seeds, self.freedom, self.images, probability)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The ends of the two-sided confidence interval."""
        half = self.reach((1 + level) / 2)
        return self.mean - half, self.mean + half

    def p_value(self, side: Side = "two", null: float = 0.0) -> float:
        """Probability of a mean so far off, if the truth were `null`.

        `side` is where the mean is looked for: "above" null, "below" it, or at "two" sides.
        """
        distance = self.mean - null
        if not self.variance:
            off = distance != 0 if side == "two" else (distance > 0) == (side == "above")
            return 0.0 if off and distance != 0 else 1.0
        if side == "two":
            return min(1.0, 2 * self._beyond(abs(distance) / self.error))
        return self._beyond(distance / self.error * (1 if side == "above" else -1))

    def _beyond(self, score: float) -> float:
        """The tail that `critical` leaves beyond a score."""
        if score < 0:
            return 1 - self._beyond(-score)
        share = self.seeds / self.variance
        if share == 1 or share == 0:
            return float(special.stdtr(self.freedom, -score) if share else special.ndtr(-score))
        low, high = 1e-16, 0.5
        for _ in range(80):  # critical() falls with the tail: halve until it is met
            middle = math.sqrt(low * high)
            met = critical(self.seeds, self.freedom, self.images, 1 - middle) > score
            low, high = (middle, high) if met else (low, middle)
        return high


def critical(seeds: float, freedom: float, images: float, probability: float) -> float:
    """The quantile of (mean - truth) / error."""
    variance = seeds + images
    if not variance:
        return 0.0
    share = seeds / variance
    # An infinite number of degrees of freedom is the normal distribution itself.
    known = float(special.ndtri(probability))
    student = float(special.stdtrit(freedom, probability)) if math.isfinite(freedom) else known
    return share * student + (1 - share) * known


@cache
def student(freedom: int) -> float:
    """Half the width of an interval over seeds alone, in standard errors: Student's t."""
    return critical(1.0, freedom, 0.0, (1 + LEVEL) / 2)


def alike(deviation: float, size: float) -> bool:
    """Whether seeds of numbers of that size are equal but for rounding: their standard deviation
    says nothing of others."""
    return deviation <= _ROUNDING * abs(size)


def of_seeds(values: Floats) -> Uncertain:
    """The mean of one value per seed: Student's t.

    Values that are equal but for rounding, as differences of percentages may be, have no variance.
    """
    count = len(values)
    if count < 2:
        return Uncertain(float(values.mean()), math.nan, 0)
    variance = float(values.var(ddof=1))
    if alike(math.sqrt(variance), float(np.abs(values).max())):
        variance = 0.0
    return Uncertain(float(values.mean()), variance / count, count - 1)


def image_part(table: Floats) -> float:
    """The part of the variance of a table's mean that other images would bring.

    The table has seeds x images values. What a seed and an image have together (the residual of a
    two-way analysis of variance) is in the variance between seeds already, so it is taken off here:
    `MS_images / (S N) - MS_residual / (S N)`, or 0 if that is negative. A single seed cannot tell
    the two apart; there all of it counts.
    """
    seeds, images = map(int, table.shape)
    if images < 2:
        return 0.0
    by_image = table.mean(0)
    whole = float(by_image.var(ddof=1)) / images
    if seeds < 2:
        return whole
    rest = table - by_image - table.mean(1, keepdims=True) + by_image.mean()
    residual = float((rest**2).sum()) / ((seeds - 1) * (images - 1) * images)
    return max(0.0, whole - residual / seeds)
