"""Speeds against a baseline's: only on like hardware, or as a ratio to a reference model."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from leaderboard.gate.baseline import Baseline
from leaderboard.gate.finding import INFINITE, Finding, Status
from leaderboard.gate.measured import Measured, Number
from leaderboard.gate.pair import Pair
from leaderboard.numbers.summary import Key
from leaderboard.numbers.timing import BUSY
from leaderboard.statistics.moderated import moderated
from leaderboard.statistics.uncertainty import Uncertain, of_seeds

Floats = NDArray[np.float64]

LEVEL = 0.99
CONTROL = 0.975  # half of a 95 % interval
WIDEST = 0.05
"""Half width of the control (the baseline against itself) beyond which nothing can be said."""


def judge_speed(pair: Pair, run: Measured, baseline: Baseline) -> Finding:
    """Compare logarithms of speeds, seed by seed.

    A regression where the 99 % bound of the slowdown exceeds the threshold or three times the half
    width of the control, whichever is larger; a pass where the bound on the other side excludes it.
    """
    before = baseline.measured
    reference = pair.rule.reference
    one, other = (_logs(pair, pair.before, before), _logs(pair, pair.after, run))
    if reference and (one is None or other is None):
        return pair.finding(Status.NOT_MEASURED, reason=f"its reference {reference} was not timed")
    if not reference:
        differs = before.machine.differs(run.machine)
        if differs:
            return pair.finding(Status.NOT_COMPARED, reason=f"other machine: {differs}")
        busy = _busy(pair, run, before)
        if busy is not None:
            return busy
    if one is None or other is None:
        reason = "a speed of 0 or infinity has no ratio"
        return pair.finding(Status.INCONCLUSIVE, reason=reason, remedy=INFINITE)
    return _compared(pair, one, pair.sign * (other - one), run, baseline)


def _compared(
    pair: Pair, base: Floats, gains: Floats, run: Measured, baseline: Baseline
) -> Finding:
    prior, pooled = baseline.noise.of_difference(pair.key, run)
    if pair.rule.reference:  # a ratio has the noise of two networks on each side
        prior = prior.times(2)
    found = moderated(of_seeds(gains), prior, len(gains), pooled)
    share = pair.rule.relative
    if share is None:
        share = (pair.rule.delta or 0.0) / abs(pair.before.mean)
    wanted = -math.log1p(-min(share, 0.999))
    if not found.freedom:
        reason = "a single seed, and no spread in the baseline to go by"
        return pair.finding(Status.INCONCLUSIVE, reason=reason, gain=math.expm1(found.mean))
    itself = of_seeds(base)  # the baseline against another run of the same: twice its variance
    itself = Uncertain(0.0, 2 * itself.seeds, itself.freedom)
    control = moderated(itself, prior, len(base), pooled).reach(CONTROL)
    delta = max(wanted, 3 * control)
    margin = max(delta, -math.log1p(-min(pair.rule.margin or 0.0, 0.999)))
    reach = found.reach(LEVEL)
    status, reason = Status.INCONCLUSIVE, ""
    if found.mean + reach < -delta:
        status = Status.REGRESSION
    elif control > WIDEST:
        reason = f"the baseline against itself varies by {100 * control:.1f} %; more seeds"
    elif found.mean - reach > -margin:
        status = Status.PASS
    else:
        reason = f"a slowdown of {-100 * math.expm1(-margin):.1f} % cannot be excluded"
    return pair.finding(
        status,
        reason=reason,
        gain=math.expm1(found.mean),
        bound=math.expm1(found.mean - reach),
        delta=-math.expm1(-delta),
        p_value=found.p_value("below"),
        relative=True,
    )


def _logs(pair: Pair, number: Number, side: Measured) -> Floats | None:
    """Logarithms of the values, less those of the reference; None where there are none."""
    values = pair.values(number)
    if pair.rule.reference:
        net = pair.rule.reference.rsplit("/", 2)
        other = side.numbers.get(Key(net[0], net[1], net[2], *pair.key[3:]))
        if other is None or set(pair.seeds) - set(other.values):
            return None
        values = values / pair.values(other)
    if not (np.isfinite(values).all() and (values > 0).all()):
        return None
    logs: Floats = np.log(values)
    return logs


def _busy(pair: Pair, run: Measured, before: Measured) -> Finding | None:
    """The finding on speeds that were taken beside others; None where the machine was quiet."""
    now, then = _load(pair, run), _load(pair, before)
    if max(now, then) <= BUSY:
        return None
    # A busy baseline first: with it, the run can be timed again for ever.
    who, remedy = (
        ("the baseline was timed", "baseline timed on a busy machine: make the baseline again")
        if then > BUSY
        else ("timed", "timed on a busy machine: measure again")
    )
    taken = max(now, then)
    reason = f"{who} on a busy machine ({taken:.0f} % of it taken by others)"
    remedy = f"{remedy} when it is quiet"
    return pair.finding(Status.INCONCLUSIVE, reason=reason, remedy=remedy)


def _load(pair: Pair, side: Measured) -> float:
    """Percent of the machine that others took while the seeds compared were timed."""
    found = side.numbers.get(pair.key._replace(metric="other_load"))
    return max((found.values.get(seed, 0.0) for seed in pair.seeds), default=0.0) if found else 0.0
