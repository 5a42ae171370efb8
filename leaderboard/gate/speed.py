"""Speeds against a baseline's: only on like hardware, or as a ratio to a reference model.

Two things make a drop of a speed a regression, each on its own:

- It is beyond what the spread of the baseline explains: that of further runs (`--noise-from`), or,
  of a measure that times every seed, that between seeds. Only then can a speed pass.
- It is beyond any plausible noise, which needs no data (see `PLAUSIBLE`).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from leaderboard.gate.baseline import Baseline
from leaderboard.gate.finding import FURTHER_RUNS, INFINITE, Finding, Status
from leaderboard.gate.measured import IQR, LOAD, Measured, Number
from leaderboard.gate.noise import Spread
from leaderboard.gate.pair import Pair
from leaderboard.gate.thresholds import kind
from leaderboard.gate.timed import timed
from leaderboard.numbers.summary import Key
from leaderboard.numbers.timing import BUSY
from leaderboard.statistics.moderated import moderated
from leaderboard.statistics.uncertainty import Uncertain, of_seeds

Floats = NDArray[np.float64]

LEVEL = 0.99
CONTROL = 0.975  # half of a 95 % interval
WIDEST = 0.05
"""Half width of the control (the baseline against itself) beyond which nothing can be said."""
PLAUSIBLE = 0.2
"""Standard deviation of the logarithm of a speed between runs of one program, where no further run
tells: more than shared machines are known to have. 100 runs of one benchmark on GitHub's hosted
runners had 0.17, and the fastest was 2.6 times as fast as the slowest
(https://hotpath.rs/metrics_history); the runs on two cores from which these tests come had 0.02."""
PLAUSIBLE_LEVEL = 0.999
"""For that, as a board has many speeds and its noise is not estimated but assumed."""
_IQR = 1.349  # interquartile range of a normal distribution of standard deviation 1


def judge_speed(pair: Pair, run: Measured, baseline: Baseline) -> Finding:
    """Compare logarithms of speeds.

    A regression where the 99 % bound of the slowdown (by further runs, of all speeds together)
    exceeds the threshold or three times the half width of the control, whichever is larger; a pass
    where the bound on the other side excludes it.
    Without a spread to go by, a regression where more than plausible noise exceeds the threshold.
    """
    before = baseline.measured
    reference = pair.rule.reference
    if reference == "/".join(pair.key[:3]):
        reason = "the reference itself, by which others are divided"
        return pair.finding(Status.NOT_COMPARED, reason=reason)
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
    gains = pair.sign * (other - one)
    rough = plausible(pair, gains, run, baseline)
    wanted = _wanted(pair)
    if rough.mean + rough.reach(PLAUSIBLE_LEVEL) < -wanted:
        reason = "more than any plausible noise between runs"
        return _finding(pair, Status.REGRESSION, reason, rough, PLAUSIBLE_LEVEL, wanted)
    spread = between_runs(pair, baseline)
    if spread is not None:
        known = of_runs(gains, spread)
        # Few runs often lie close by chance: false alarms are shared by all speeds of the board.
        level = 1 - (1 - LEVEL) / _speeds(before)
        return _decided(pair, known, known.reach(CONTROL), wanted, level)
    if len(gains) > 1:
        return _seed_by_seed(pair, one, gains, run, baseline)
    others = "the baseline's further runs were timed on another or a busy machine"
    why = others if baseline.noise.timed else "one timing on each side"
    reason = f"{why}: a slowdown of {-100 * math.expm1(-wanted):.1f} % cannot be excluded"
    found = _finding(pair, Status.INCONCLUSIVE, reason, rough, PLAUSIBLE_LEVEL, wanted)
    return replace(found, remedy=FURTHER_RUNS)


def between_runs(pair: Pair, baseline: Baseline) -> Spread | None:
    """The spread between runs of the baseline's program, of ratios where a reference is set; None
    where no further run tells.

    Speeds themselves count where they were taken on the same kind of machine without load, ratios
    of all runs. The very same timing twice is a copy of one. Networks do not lend each other
    theirs: what slows a machine down slows all of them, so they know it no better together.
    """
    before, reference = baseline.measured, pair.rule.reference
    other = _reference(pair, before)
    values = [timed(before).log(pair.key, other)]
    for one in baseline.noise.timed:
        if reference or not (before.machine.differs(one.machine) or one.busy(pair.key)):
            values.append(one.log(pair.key, other))
    known = np.array([*dict.fromkeys(value for value in values if value is not None)])
    if values[0] is None or len(known) < 2:
        return None
    return Spread(float(((known - known.mean()) ** 2).sum()), len(known) - 1)


def of_runs(gains: Floats, spread: Spread) -> Uncertain:
    """Gains with the noise of two runs, which further seeds of either do not make smaller."""
    return Uncertain(float(gains.mean()), 2 * spread.squares / spread.freedom, spread.freedom)


def plausible(pair: Pair, gains: Floats, run: Measured, baseline: Baseline) -> Uncertain:
    """Gains (of logarithms) with as much noise as is plausible between two runs: `PLAUSIBLE` and
    that of the passes for each timing, or what is known of the baseline if that is more."""
    variance = 0.0
    for side, number in ((baseline.measured, pair.before), (run, pair.after)):
        variance += PLAUSIBLE**2 + _of_passes(pair, pair.key, number, side)
        key = _reference(pair, side)
        if key is not None:
            variance += PLAUSIBLE**2 + _of_passes(pair, key, side.numbers[key], side)
    spread = between_runs(pair, baseline)
    if spread is not None and 2 * spread.squares / spread.freedom > variance:
        return of_runs(gains, spread)
    return Uncertain(float(gains.mean()), 0.0, math.inf, variance)


def _of_passes(pair: Pair, key: Key, number: Number, side: Measured) -> float:
    """Variance of the logarithm of a speed from pass to pass; 0 where it is not known."""
    iqr = side.numbers.get(key._replace(metric=key.metric + IQR))
    if iqr is None:
        return 0.0
    shares = [iqr.values.get(seed, 0.0) / number.values[seed] / _IQR for seed in pair.seeds]
    return sum(share**2 for share in shares) / len(shares) ** 2


def _speeds(side: Measured) -> int:
    """How many numbers of a board are speeds."""
    ranked = (key for key, number in side.numbers.items() if number.better != "neither")
    return sum(kind(key) == "speed" for key in ranked)


def _decided(
    pair: Pair, found: Uncertain, control: float, wanted: float, level: float = LEVEL
) -> Finding:
    """By what is known of noise; `level` is how sure a regression must be."""
    delta = max(wanted, 3 * control)
    margin = max(delta, -math.log1p(-min(pair.rule.margin or 0.0, 0.999)))
    reach = found.reach(LEVEL)
    status, reason = Status.INCONCLUSIVE, ""
    if found.mean + found.reach(level) < -delta:
        status = Status.REGRESSION
    elif control > WIDEST:
        reason = f"the baseline against itself varies by {100 * control:.1f} %"
    elif found.mean - reach > -margin:
        status = Status.PASS
    else:
        reason = f"a slowdown of {-100 * math.expm1(-margin):.1f} % cannot be excluded"
    deciding = LEVEL if status is Status.PASS else level
    made = _finding(pair, status, reason, found, deciding, delta)
    lacks = status is Status.INCONCLUSIVE and len(pair.seeds) == 1
    return replace(made, remedy=FURTHER_RUNS) if lacks else made


def _seed_by_seed(
    pair: Pair, base: Floats, gains: Floats, run: Measured, baseline: Baseline
) -> Finding:
    """By the spread between seeds, where every seed was timed."""
    prior, pooled = baseline.noise.of_difference(pair.key, run)
    if pair.rule.reference:  # a ratio has the noise of two networks on each side
        prior = prior.times(2)
    found = moderated(of_seeds(gains), prior, len(gains), pooled)
    itself = of_seeds(base)  # the baseline against another run of the same: twice its variance
    itself = Uncertain(0.0, 2 * itself.seeds, itself.freedom)
    control = moderated(itself, prior, len(base), pooled).reach(CONTROL)
    return _decided(pair, found, control, _wanted(pair))


def _wanted(pair: Pair) -> float:
    """The threshold as a logarithm."""
    share = pair.rule.relative
    if share is None:
        share = (pair.rule.delta or 0.0) / abs(pair.before.mean)
    return -math.log1p(-min(share, 0.999))


def _finding(
    pair: Pair, status: Status, reason: str, found: Uncertain, level: float, delta: float
) -> Finding:
    return pair.finding(
        status,
        reason=reason,
        gain=math.expm1(found.mean),
        bound=math.expm1(found.mean - found.reach(level)),
        delta=-math.expm1(-delta),
        p_value=found.p_value("below"),
        relative=True,
    )


def _reference(pair: Pair, side: Measured) -> Key | None:
    """The same number of the reference, whose names may have slashes; None if it has none."""
    alike = (key for key in side.numbers if key[3:] == pair.key[3:])
    return next((key for key in alike if "/".join(key[:3]) == pair.rule.reference), None)


def _logs(pair: Pair, number: Number, side: Measured) -> Floats | None:
    """Logarithms of the values, less those of the reference; None where there are none."""
    values = pair.values(number)
    if pair.rule.reference:
        key = _reference(pair, side)
        if key is None or set(pair.seeds) - set(side.numbers[key].values):
            return None
        values = values / pair.values(side.numbers[key])
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


def is_busy(pair: Pair, run: Measured, before: Measured) -> bool:
    """Whether other programs took the machine's time on either side."""
    return max(_load(pair, run), _load(pair, before)) > BUSY


def _load(pair: Pair, side: Measured) -> float:
    """Percent of the machine that others took while the seeds compared were timed."""
    found = side.numbers.get(pair.key._replace(metric=LOAD))
    return max((found.values.get(seed, 0.0) for seed in pair.seeds), default=0.0) if found else 0.0
