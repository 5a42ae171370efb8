"""Whether numbers bear a claim out.

Every line of a claim (a network) has an interval for each of its rivals. All intervals of one claim
hold together with a probability of 95 % (Bonferroni), so that a claim about many networks is not
contradicted, or borne out, by the luckiest of them. Where a claim names several inputs, the weakest
is looked up in the very numbers that it is tested on, so each of them counts as a comparison.
Variances are pooled over the lines of a claim (Smyth, 2004), which is what two or three seeds can
be asked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from leaderboard.claims.absent import absent
from leaderboard.claims.gap import Gap
from leaderboard.claims.gaps import gaps
from leaderboard.results import Claim, Results
from leaderboard.statistics.moderated import among
from leaderboard.statistics.uncertainty import LEVEL, Floats


class Verdict(StrEnum):
    """What a run says of a claim."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"
    NOT_TESTED = "not tested"


@dataclass(frozen=True, slots=True)
class Line:
    """A claim on one network, against the rival that leaves it the least room.

    `difference`, `low` and `high` are in points, or shares of the rival's value with `gap.ratio`
    (0.1 is 10 % more); the ends are None where seeds tell nothing of others: one, or equal ones.
    """

    gap: Gap
    difference: float
    low: float | None
    high: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim, what each network says of it, and what all together do; `absent` is what it names
    and was not measured (`leaderboard.claims.absent`)."""

    claim: Claim
    lines: tuple[Line, ...]
    verdict: Verdict
    absent: tuple[str, ...] = ()

    @property
    def counts(self) -> str:
        """`3 reproduced, 1 inconclusive`; empty without lines."""
        found = Counter(line.verdict for line in self.lines)
        parts = [f"{found[verdict]} {verdict}" for verdict in Verdict if found[verdict]]
        return ", ".join(parts)

    @property
    def flags(self) -> tuple[str, ...]:
        """What speaks against the numbers that the verdict rests on."""
        decisive = (line for line in self.lines if line.verdict == self.verdict)
        return tuple(dict.fromkeys(name for line in decisive for name in line.gap.flags))


def judge(results: Results) -> list[Judged]:
    """Every claim of the results, in the order in which they were stated."""
    return [_judged(results, claim) for claim in results.claims]


def _judged(results: Results, claim: Claim) -> Judged:
    found = gaps(results, claim)
    # A single seed tells nothing of others, and what is counted has no variance.
    alike = [gap.values for gap in found if len(gap.values) > 1 and not gap.exact]
    level = 1 - (1 - LEVEL) / max(1, sum(gap.chosen_from for gap in found))
    rivals: dict[tuple[str, str, str], list[Line]] = {}
    for gap in found:
        rivals.setdefault(gap.net, []).append(_line(claim, gap, alike, level))
    lines = tuple(_hardest(claim, of) for of in rivals.values())
    verdict = _together([line.verdict for line in lines])
    return Judged(claim, lines, verdict, absent(results, claim, found))


def _line(claim: Claim, gap: Gap, alike: Sequence[Floats], level: float) -> Line:
    mean = float(gap.values.mean())
    if gap.exact:
        low = high = mean
    else:
        found = among(gap.values, alike, gap.images)
        # Of one seed nothing is known, and seeds that are equal by chance have no spread to go by.
        if len(gap.values) < 2 or not found.variance:
            return Line(gap, _shown(gap, mean), None, None, Verdict.INCONCLUSIVE)
        low, high = found.interval(level)
    ends = _shown(gap, low), _shown(gap, high)
    return Line(gap, _shown(gap, mean), *ends, _verdict(claim, *ends))


def _shown(gap: Gap, value: float) -> float:
    return math.expm1(value) if gap.ratio else value


def _verdict(claim: Claim, low: float, high: float) -> Verdict:
    """From the interval of the difference, turned so that up is what the claim says."""
    if _is_down(claim):
        low, high = -high, -low
    if claim.expect.startswith("not"):
        # "Not lower" allows for the margin: below it the claim is wrong, above it is right.
        good, bad = low > -claim.margin or low == high == 0, high < -claim.margin
    else:
        # A gain that the interval limits to the margin is none worth the name, however sure.
        bad = high < claim.margin or low == high == 0
        good = low > 0 and not bad
    if good:
        return Verdict.REPRODUCED
    return Verdict.NOT_REPRODUCED if bad else Verdict.INCONCLUSIVE


def _is_down(claim: Claim) -> bool:
    """Whether a lower number is what the claim says."""
    return claim.expect in ("lower", "not higher", "weakest input")


def _hardest(claim: Claim, lines: Sequence[Line]) -> Line:
    """A claim against several rivals holds against all: the one against which it holds least."""
    rank = {Verdict.NOT_REPRODUCED: 0, Verdict.INCONCLUSIVE: 1, Verdict.REPRODUCED: 2}
    sign = -1 if _is_down(claim) else 1
    return min(lines, key=lambda line: (rank[line.verdict], sign * line.difference))


def _together(verdicts: Sequence[Verdict]) -> Verdict:
    """A claim that is stated for all networks is wrong if it is for one of them."""
    if not verdicts:
        return Verdict.NOT_TESTED
    for verdict in (Verdict.NOT_REPRODUCED, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.REPRODUCED
