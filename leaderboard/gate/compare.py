"""What changed between two runs, by how much, and what of it is beyond noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from leaderboard.gate.baseline import Baseline
from leaderboard.gate.judge import curve_part, same_weights
from leaderboard.gate.measured import Measured
from leaderboard.gate.pair import Pair, other_batch
from leaderboard.gate.renamed import renamed, told, under
from leaderboard.gate.speed import between_runs, is_busy, of_runs, plausible
from leaderboard.gate.stale import differences
from leaderboard.gate.thresholds import Threshold, kind
from leaderboard.numbers.summary import ACCURACY, AREA, Key
from leaderboard.statistics.moderated import moderated
from leaderboard.statistics.multiplicity import corrected
from leaderboard.statistics.uncertainty import Uncertain, of_seeds
from leaderboard.statistics.verdict import Compared, Verdict, decide

_EXACT = ("counted", "memory")
_SIDES = ("before", "after")
# What no chance is in: no test, which the correction for many tests would have to reckon with.
_UNTESTED = ("exact", "identical")


@dataclass(frozen=True, slots=True)
class Change:
    """One number on both sides. `compared` is None where it cannot be compared; `reason` tells how
    it was, or why not. Differences of speeds are shares (0.1 is 10 %)."""

    key: Key
    unit: str
    before: float
    after: float
    compared: Compared | None
    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that is on both sides, what is on one of them only, and what was done otherwise.

    What is `gone` belongs to both, but failed on one side, was never reached or is damaged there,
    for all seeds or for some: the number, and in brackets where and why. `removed` is not part of
    the second any more.
    """

    changes: tuple[Change, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    gone: tuple[str, ...]
    notes: tuple[str, ...]


def compare(one: Baseline, other: Baseline) -> Comparison:
    """Compare the second with the first; a backbone that has only another label there goes by that
    of the first, and a note says so."""
    before = one.measured
    labels = renamed(before, other.measured)
    after = under(labels, other.measured).up_to(before.limits)
    mine, theirs = (
        {k for k, n in side.numbers.items() if n.better != "neither"} for side in (before, after)
    )
    drafts = [
        _change(Pair(key, number, after.numbers[key], Threshold()), one, after)
        for key, number in before.numbers.items()
        if key in theirs and key in mine
    ]
    notes = [*told(labels, before, other.measured, _SIDES)]
    notes += differences(before, after, _SIDES)
    machine = before.machine.differs(after.machine, _SIDES)
    if machine:
        notes.append(f"another machine: {machine}")
    gone, never = _unmeasured(before, mine, after), _unmeasured(after, theirs, before)
    said = [
        *(_lacking(key, lacking, key in theirs) for key, lacking in gone.items()),
        *(_lacking(key, lacking, key in mine, "before, ") for key, lacking in never.items()),
    ]
    return Comparison(
        tuple(_decided(drafts, before)),
        tuple(sorted(map(name_of, theirs - mine - never.keys()))),
        tuple(sorted(map(name_of, mine - theirs - gone.keys()))),
        tuple(sorted(said)),
        tuple(notes),
    )


def _unmeasured(there: Measured, keys: set[Key], here: Measured) -> dict[Key, dict[int, str]]:
    """Those of the numbers on one side that were to be measured on the other as well and are not,
    for all seeds or for some: seeds and reasons."""
    gaps: dict[tuple[str, ...], dict[int, str]] = {}
    for (net, measure), reason in here.gaps.items():
        gaps.setdefault((*net[:3], measure), {})[net.seed] = reason
    done: dict[tuple[str, ...], set[int]] = {}
    for key, number in here.numbers.items():
        done.setdefault(key[:4], set()).update(number.values)
    found = {}
    for key in keys:
        # A network whose training failed lacks all that was to be measured of it.
        known = {**gaps.get((*key[:3], "train"), {}), **gaps.get(key[:4], {})}
        if key in here.numbers:
            lost = there.numbers[key].values.keys() - here.numbers[key].values.keys()
            # Where its measure is done, a measure of one's own did not return it this time.
            without = dict.fromkeys(lost & done.get(key[:4], set()), "no such number")
            known = {**without, **{seed: known[seed] for seed in lost & known.keys()}}
        if known:
            found[key] = known
    return found


def _lacking(key: Key, lacking: Mapping[int, str], partly: bool, side: str = "") -> str:
    """A number that is not there: on which side, for which seeds if not for all, and why."""
    seeds = f"seed {', '.join(map(str, sorted(lacking)))}: " if partly else ""
    reasons = "; ".join(dict.fromkeys(lacking[seed] for seed in sorted(lacking)))
    return f"{name_of(key)} ({side}{seeds}{reasons})"


def _change(pair: Pair, one: Baseline, after: Measured) -> Change:
    """A change whose p-value is not corrected yet."""
    shared = sorted(set(pair.before.values) & set(pair.after.values))
    made = Change(
        pair.key, pair.before.unit, pair.before.mean, pair.after.mean, None, Verdict.INCONCLUSIVE
    )
    if not shared:
        return replace(made, reason="no seed in common")
    pair = replace(
        pair,
        before=replace(pair.before, values={s: pair.before.values[s] for s in shared}),
        after=replace(pair.after, values={s: pair.after.values[s] for s in shared}),
    )
    made = replace(made, before=pair.before.mean, after=pair.after.mean)
    values, later = pair.values(pair.before), pair.values(pair.after)
    what, machine = kind(pair.key), one.measured.machine.differs(after.machine)
    if batches := other_batch(pair.key, one.measured, after, _SIDES):
        return replace(made, reason=batches)
    if pair.identical:
        return replace(made, compared=_exact(0.0, len(shared)), reason="identical")
    if what in ("speed", "memory") and machine:
        return replace(made, reason="another machine")
    if what in _EXACT:
        return replace(made, compared=_exact(made.after - made.before, len(shared)), reason="exact")
    if not (np.isfinite(values).all() and np.isfinite(later).all()):
        return replace(made, reason="infinite values")
    if pair.key[3:] == ACCURACY and (flips := same_weights(pair, after, one.measured)):
        found = Compared(
            flips.points,
            flips.points,
            flips.points,
            None,
            flips.p_value,
            flips.p_value,
            len(shared),
        )
        said = f"same weights: {flips.lost} images lost, {flips.gained} gained"
        return replace(made, compared=found, reason=said)
    if what == "speed":
        return _speed(made, pair, one, after)
    gaps = later - values
    prior, pooled = one.noise.of_difference(pair.key, after)
    uncertain = moderated(of_seeds(gaps), prior, len(shared), pooled)
    if not uncertain.freedom:
        return replace(made, reason="a single seed, and no spread to go by")
    if not uncertain.variance:
        return replace(made, reason="seeds equal by chance, and no spread to go by")
    if pair.key.metric == AREA:
        uncertain = replace(uncertain, images=curve_part(pair, after, one.measured))
    return replace(made, compared=_of(uncertain, gaps), reason="paired by seed")


def _speed(made: Change, pair: Pair, one: Baseline, after: Measured) -> Change:
    """By the noise of further runs; without, by that of any plausible one; or seed by seed."""
    if is_busy(pair, after, one.measured):
        return replace(made, reason="timed on a busy machine")
    values, later = pair.values(pair.before), pair.values(pair.after)
    if not ((values > 0).all() and (later > 0).all()):
        return replace(made, reason="a speed of 0 has no ratio")
    gaps = np.log(later / values)
    spread = between_runs(pair, one)
    if spread is not None:
        found, reason = of_runs(gaps, spread), "further runs"
        return replace(made, compared=_shares(_of(found, gaps)), reason=reason)
    prior, pooled = one.noise.of_difference(pair.key, after)
    uncertain = moderated(of_seeds(gaps), prior, len(gaps), pooled)
    if len(gaps) > 1 and uncertain.variance:
        return replace(made, compared=_shares(_of(uncertain, gaps)), reason="paired by seed")
    found, reason = plausible(pair, gaps, after, one), "one timing on each side"
    return replace(made, compared=_shares(_of(found, gaps)), reason=reason)


def _shares(found: Compared) -> Compared:
    """With differences of logarithms as shares of the first."""
    difference, low, high = map(math.expm1, (found.difference, found.low, found.high))
    return replace(found, difference=difference, low=low, high=high)


def _exact(difference: float, count: int) -> Compared:
    p_value = 0.0 if difference else 1.0
    return Compared(difference, difference, difference, None, p_value, p_value, count)


def _of(found: Uncertain, gaps: np.ndarray) -> Compared:
    sd = float(gaps.std(ddof=1)) if len(gaps) > 1 else 0.0
    p_value = found.p_value()
    effect = found.mean / sd if sd else None
    return Compared(found.mean, *found.interval(), effect, p_value, p_value, len(gaps))


def _decided(drafts: list[Change], before: Measured) -> list[Change]:
    """With p-values corrected over all numbers of the board that were tested, and verdicts."""
    tested = [n for n, one in enumerate(drafts) if one.compared and one.reason not in _UNTESTED]
    pairs = [(n, one) for n in tested if (one := drafts[n].compared) is not None]
    adjusted = corrected([one.p_value for _, one in pairs])
    decided = [*drafts]
    for (place, one), p_value in zip(pairs, adjusted, strict=True):
        decided[place] = replace(drafts[place], compared=replace(one, corrected=p_value))
    return [
        one
        if one.compared is None
        else replace(one, verdict=decide(one.compared, before.numbers[one.key].better))
        for one in decided
    ]


def name_of(key: Key) -> str:
    """A number's name for people: where it was measured, and what."""
    return f"{'/'.join(key[:4])} {key.metric}"
