"""Means over seeds with their intervals, and the ranks that these leave open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from leaderboard.numbers.summary import Summary, summarize


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean of some seeds and the ends of its confidence interval.

    The ends are None where a single seed says nothing about others, nor do seeds that are equal by
    chance, as percentages of few images and medians on a grid often are. Counted numbers, which
    are the same for every seed by their nature, have an interval without width.
    """

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Rank:
    """The best and the worst place that a network may have, from 1."""

    best: int
    worst: int

    @property
    def text(self) -> str:
        """`2`, or `1-3` where others cannot be told from it."""
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


def spread(values: Sequence[float], *, exact: bool = False) -> Spread:
    """Mean of at least one value, with the 95 % interval of Student's t over the seeds; `exact`
    values are counted."""
    if len(values) > 1 and all(value == math.inf for value in values):
        return Spread(math.inf, math.inf, math.inf)
    return spread_of(summarize(values), exact=exact)


def spread_of(found: Summary, *, exact: bool = False) -> Spread:
    """As `spread`, of what is left of the values."""
    if found.sd is None or math.isinf(found.sd):
        return Spread(found.mean, None, None)
    # Numerics load when something is ranked, not before.
    from leaderboard.statistics.uncertainty import alike, student

    if alike(found.sd, found.mean) and not exact:
        return Spread(found.mean, None, None)
    half = student(found.n - 1) * found.sd / math.sqrt(found.n)
    return Spread(found.mean, found.mean - half, found.mean + half)


def ranks(spreads: Sequence[Spread], better: Literal["higher", "lower"]) -> list[Rank | None]:
    """The places that each may have: two change places as long as their intervals overlap.

    That is careful for each pair: intervals that touch may belong to networks that a paired
    comparison tells apart, hardly ever the other way round. It is not so for a whole table: of 16
    networks that are all alike, with 4 seeds each, chance sets some two apart in a quarter of
    tables and more. Those without an interval have no place (None) and count for nobody else's.
    """
    sign = 1.0 if better == "higher" else -1.0
    ends = [_ends(one, sign) for one in spreads]
    known = [pair for pair in ends if pair is not None]
    return [
        None
        if pair is None
        else Rank(
            1 + sum(low > pair[1] for low, _ in known),
            len(known) - sum(high < pair[0] for _, high in known),
        )
        for pair in ends
    ]


def unbeaten(spreads: Sequence[Spread], better: Literal["higher", "lower"]) -> list[bool]:
    """Which are not worse than the one of the best mean beyond what their intervals leave open:
    the bold ones of a column.

    Where that one has no interval, nobody knows whether it would be the best once more: none is.
    Nor is another without an interval, as of a single seed. A single number leads nothing.
    """
    sign = 1.0 if better == "higher" else -1.0
    # Of equal means, one that is sure: infinite for all seeds is more than for some of them.
    leader = max(
        range(len(spreads)),
        key=lambda k: (sign * spreads[k].mean, spreads[k].low is not None),
        default=0,
    )
    ends = [_ends(one, sign) for one in spreads]
    if len(spreads) < 2 or (best := ends[leader]) is None:
        return [False] * len(spreads)
    return [pair is not None and pair[1] >= best[0] for pair in ends]


def _ends(one: Spread, sign: float) -> tuple[float, float] | None:
    """Lower and upper end, turned so that more is better."""
    if one.low is None or one.high is None:
        return None
    low, high = sorted((sign * one.low, sign * one.high))
    return low, high
