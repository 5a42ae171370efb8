"""The moderated t-test: few seeds borrow their variance from many cells.

Smyth, "Linear models and empirical Bayes methods for assessing differential expression in
microarray experiments", Statistical Applications in Genetics and Molecular Biology 3 (2004), known
as limma. Variances of cells are taken to be drawn from a scaled inverse chi-square with d0 degrees
of freedom about s0^2, both estimated from the cells (section 6.2); a cell's own variance is then

    s~^2 = (d0 s0^2 + d s^2) / (d0 + d),    with d0 + d degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import digamma, polygamma

from leaderboard.statistics.uncertainty import Floats, Uncertain, of_seeds


@dataclass(frozen=True, slots=True)
class Prior:
    """What cells of this kind vary by: `variance` of one value, worth `freedom` degrees."""

    variance: float
    freedom: float

    def times(self, factor: float) -> Prior:
        """The same for values of a variance so many times larger, such as differences (2)."""
        return Prior(self.variance * factor, self.freedom)


NOTHING = Prior(0.0, 0.0)
"""No cell is known: the test is Student's."""

# Standard deviations a million times smaller than the largest are rounding errors of equal values.
_ROUNDING = 1e-12


def fit(variances: Sequence[float], freedoms: Sequence[float]) -> Prior:
    """The prior of some cells' sample variances, by the moments of their logarithms.

    Cells without variance say nothing of its size (a counted quantity has none) and are left out;
    so are those whose values differ by rounding only, whose logarithms would outweigh all others.
    As in limma, the degrees of freedom are never more than those of all cells together.
    """
    least = _ROUNDING * max(variances, default=0.0)
    pairs = [(v, d) for v, d in zip(variances, freedoms, strict=True) if v > least and d > 0]
    if not pairs:
        return NOTHING
    own, degrees = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
    total = float(degrees.sum())
    if len(own) == 1:
        return Prior(float(own[0]), total)
    # e = log s^2 - digamma(d/2) + log(d/2) has mean log s0^2 - digamma(d0/2) + log(d0/2), and
    # variance trigamma(d/2) + trigamma(d0/2).
    e = np.log(own) - digamma(degrees / 2) + np.log(degrees / 2)
    mean = float(e.mean())
    spread = float(e.var(ddof=1) - polygamma(1, degrees / 2).mean())
    if spread <= 0:  # they differ by no more than chance: one variance for all
        return Prior(float((own * degrees).sum() / total), total)
    freedom = 2 * trigamma_inverse(spread)
    variance = math.exp(mean + float(digamma(freedom / 2)) - math.log(freedom / 2))
    return Prior(variance, min(freedom, total))


def fit_values(cells: Sequence[Floats]) -> Prior:
    """The prior of cells given by their values, seed by seed (two at least)."""
    variances = [float(values.var(ddof=1)) for values in cells]
    return fit(variances, [len(values) - 1 for values in cells])


def moderated(found: Uncertain, prior: Prior, count: int, pooled: float = math.inf) -> Uncertain:
    """A mean over `count` seeds with its variance drawn towards that of the prior.

    A single seed, which has no variance of its own, takes the prior's. `pooled` are the degrees of
    freedom of all that is known, where the prior comes from these very values among others: there
    are never more of them, as in limma.
    """
    own = found.freedom if math.isfinite(found.freedom) and found.freedom > 0 else 0.0
    freedom = own + prior.freedom
    if not freedom:
        return found
    mine = own * found.seeds * count if own else 0.0
    variance = (prior.freedom * prior.variance + mine) / freedom
    return replace(found, seeds=variance / count, freedom=min(freedom, max(pooled, own)))


def among(values: Floats, alike: Sequence[Floats], images: float = 0.0) -> Uncertain:
    """The mean of one comparison's differences, seed by seed (two at least), its variance pooled
    with those of `alike`, of which it is one; alone, it is Student's.

    Few comparisons do not tell how far their variances differ, and comparisons with one baseline
    share its seeds. So only half of all degrees of freedom count beyond its own: a 95 % interval
    then misses in 3 to 7 of 100 cases with two to eight comparisons of two to four seeds, where
    it would in 6 to 11 if all of them did (tests/statistics/test_coverage.py).

    `images` is the part of the variance of the mean that other images would bring.
    """
    found = of_seeds(values)
    if len(alike) > 1:
        # Its own variance is among those that the prior comes from.
        pooled = sum(len(other) - 1 for other in alike) / 2
        found = moderated(found, fit_values(alike), len(values), pooled)
    return replace(found, images=images)


def trigamma_inverse(value: float) -> float:
    """The y with trigamma(y) = value > 0, by Newton's method on 1/trigamma (Smyth, appendix)."""
    if value > 1e7:
        return 1 / math.sqrt(value)
    if value < 1e-6:
        return 1 / value
    y = 0.5 + 1 / value
    for _ in range(50):
        now = float(polygamma(1, y))
        step = now * (1 - now / value) / float(polygamma(2, y))
        y += step
        if -step / y < 1e-10:
            break
    return y
