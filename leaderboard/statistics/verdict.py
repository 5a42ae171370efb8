"""What a comparison comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from leaderboard.results import Better


class Verdict(StrEnum):
    """Of the second against the first, in the metric's own direction."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Compared:
    """One difference, in the metric's unit: `low` to `high` is its 95 % interval, infinite where
    nothing is known of it.

    `effect` is the difference in standard deviations between pairs of seeds (Cohen's d_z); None
    where these do not differ or there is one only. `p_value` is two-sided, `corrected` the same
    over all comparisons that were made together. `count` is how many pairs there are.
    """

    difference: float
    low: float
    high: float
    effect: float | None
    p_value: float
    corrected: float
    count: int


def decide(found: Compared, better: Better, margin: float = 0.0, alpha: float = 0.05) -> Verdict:
    """The verdict on a difference.

    "better" or "worse" where the corrected p-value is below `alpha`; "equivalent" where the whole
    interval lies within the margin, or nothing differs at all; "inconclusive" otherwise, which says
    that more seeds are needed and not that nothing has changed.
    """
    if found.difference == found.low == found.high == 0:
        return Verdict.EQUIVALENT
    if found.corrected < alpha and better != "neither":
        up = found.difference > 0
        return Verdict.BETTER if up == (better == "higher") else Verdict.WORSE
    if -margin < found.low and found.high < margin:
        return Verdict.EQUIVALENT
    return Verdict.INCONCLUSIVE
