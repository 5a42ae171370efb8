"""The regression gate: each number of a baseline against the same number of a run.

A number is a regression if its mean has dropped by more than a threshold and not by chance; it
passes only if the data exclude such a drop; anything between is inconclusive, and more seeds are
needed. Networks trained anew are compared seed by seed (a moderated t-test, of curves with the
images as a second level), networks with the same weights image by image (McNemar).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from leaderboard.gate.baseline import Baseline
from leaderboard.gate.finding import INFINITE, MORE_SEEDS, OTHER_BATCH, Finding, Judgement, Status
from leaderboard.gate.measured import Measured, Number, Trained, withstood
from leaderboard.gate.pair import Pair, other_batch
from leaderboard.gate.renamed import labels_of
from leaderboard.gate.speed import judge_speed
from leaderboard.gate.thresholds import ALPHA, Threshold, kind, threshold
from leaderboard.numbers.summary import ACCURACY, AREA, Key
from leaderboard.statistics.mcnemar import Flips, flips
from leaderboard.statistics.moderated import moderated
from leaderboard.statistics.multiplicity import corrected
from leaderboard.statistics.uncertainty import Uncertain, image_part, of_seeds

Floats = NDArray[np.float64]

LEVEL = 0.95
_SAME_ALPHA = 0.01
_EQUAL = "seeds equal by chance, and no spread between seeds in the baseline to go by"
_SAME_FLIPS = (3, 0.001)  # images, share of all images


def judge(
    run: Measured, baseline: Baseline, said: Mapping[str, Threshold] | None = None
) -> Judgement:
    """Judge every number of the baseline.

    Args:
        run: must be of the same experiment (see `leaderboard.gate.stale`).
        baseline: what it is held against; its own thresholds come last and win.
        said: the suite's thresholds.
    """
    run = run.up_to(baseline.measured.limits)
    rules = {**(said or {}), **baseline.thresholds}
    labels = labels_of(run)
    findings: list[Finding] = []
    tested: list[tuple[int, Uncertain]] = []
    for key, before in baseline.measured.numbers.items():
        rule = threshold(key, before.unit, baseline.measured.machine.device, rules)
        if rule.ignore or before.better == "neither":
            continue
        gap = _gap(key, before, run, labels)
        if gap:
            lost = Finding(key, before.unit, Status.NOT_MEASURED, gap, before.mean)
            findings.append(lost)
            continue
        pair = Pair(key, before, run.numbers[key], rule).shared()
        found, uncertain = _judge(pair, run, baseline)
        if uncertain is not None:
            tested.append((len(findings), uncertain))
        findings.append(found)
    _decide(findings, tested)
    return Judgement(tuple(findings), tuple(_notes(run, baseline.measured)))


def _gap(key: Key, before: Number, run: Measured, labels: Collection[str]) -> str:
    """Why a number is not there for all seeds; empty if it is."""
    for seed in sorted(before.values):
        net = Trained(*key[:3], seed)
        for measure in (key.measure, "train"):
            if (net, measure) in run.gaps:
                return f"seed {seed}: {run.gaps[net, measure]}"
    number = run.numbers.get(key)
    if key.backbone not in labels:
        return f"the run has no backbone {key.backbone}"
    lacking = sorted(set(before.values) - set(number.values if number else ()))
    named = ", ".join(map(str, lacking))
    return f"the run has no such number for seed {named}" if lacking else ""


def _judge(pair: Pair, run: Measured, baseline: Baseline) -> tuple[Finding, Uncertain | None]:
    """A finding; with an `Uncertain` gain where it depends on the others' p-values."""
    what = kind(pair.key)
    one, other = pair.values(pair.before), pair.values(pair.after)
    if batches := other_batch(pair.key, baseline.measured, run):
        return pair.finding(Status.INCONCLUSIVE, reason=batches, remedy=OTHER_BATCH), None
    if pair.identical and not _other_network(pair, run, baseline.measured):
        is_part = len(run.numbers[pair.key].values) > len(pair.seeds)
        reason = "identical for every seed" + (" in common" if is_part else "")
        return pair.finding(Status.PASS, reason=reason, gain=0.0, bound=0.0), None
    if what == "speed":
        return judge_speed(pair, run, baseline), None
    if what in ("counted", "memory"):
        return _counted(pair, what, run, baseline), None
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return _infinite(pair, one, other), None
    if pair.key[3:] == ACCURACY and (found := _same_network(pair, run, baseline.measured)):
        return found, None
    return _retrained(pair, run, baseline)


def _counted(pair: Pair, what: str, run: Measured, baseline: Baseline) -> Finding:
    """Numbers without noise: a change is a change."""
    differs = baseline.measured.machine.differs(run.machine)
    if what == "memory" and differs:
        return pair.finding(Status.NOT_COMPARED, reason=f"other machine: {differs}")
    change = pair.sign * (pair.after.mean - pair.before.mean)
    relative = pair.rule.delta is None
    gain = change / abs(pair.before.mean) if relative and pair.before.mean else change
    delta = pair.rule.delta or pair.rule.relative or 0.0
    status = Status.REGRESSION if gain < -delta else Status.PASS
    return pair.finding(status, gain=gain, bound=gain, delta=delta, relative=relative)


def _infinite(pair: Pair, one: Floats, other: Floats) -> Finding:
    """Infinite values have no mean to compare; an infinity lost is a loss."""
    lost = pair.sign * (np.isinf(other).sum() - np.isinf(one).sum()) < 0
    status = Status.REGRESSION if lost else Status.INCONCLUSIVE
    reason = "some values are infinite, and others on the other side"
    return pair.finding(status, reason=reason, remedy="" if lost else INFINITE)


def _same_network(pair: Pair, run: Measured, before: Measured) -> Finding | None:
    """McNemar over all seeds, if every network is the very same; None if one is not."""
    found = same_weights(pair, run, before)
    if found is None:
        return None
    needed = max(_SAME_FLIPS[0], _SAME_FLIPS[1] * found.images)
    worse = found.p_value < _SAME_ALPHA and -found.net > needed
    reason = (
        f"same weights: {found.lost} images lost and {found.gained} gained of {found.images} "
        f"(McNemar p = {found.p_value:.2g})"
    )
    return pair.finding(
        Status.REGRESSION if worse else Status.PASS,
        reason=reason,
        gain=found.points,
        p_value=found.p_value,
        delta=100 * needed / found.images,
    )


def same_weights(pair: Pair, run: Measured, before: Measured) -> Flips | None:
    """The images of all seeds on which two evaluations of the same weights disagree.

    None if some network is not the same."""
    nets = [Trained(*pair.key[:3], seed) for seed in pair.seeds]
    if not all(_is_same(net, run, before) for net in nets):
        return None
    found = flips(*(np.concatenate([side.correct[net] for net in nets]) for side in (before, run)))
    # A number that its own images do not bear out is judged as a number.
    told = pair.after.mean - pair.before.mean
    return found if math.isclose(found.points, told, abs_tol=1e-6) else None


def _is_same(net: Trained, run: Measured, before: Measured) -> bool:
    weights = run.weights.get(net)
    known = net in run.correct and net in before.correct
    return (
        weights is not None
        and weights == before.weights.get(net)
        and known
        and run.correct[net].shape == before.correct[net].shape
    )


def _retrained(pair: Pair, run: Measured, baseline: Baseline) -> tuple[Finding, Uncertain | None]:
    """The mean gain over seeds with its uncertainty; decided later, with all others' p-values."""
    gains = pair.sign * (pair.values(pair.after) - pair.values(pair.before))
    prior, pooled = baseline.noise.of_difference(pair.key, run)
    found = moderated(of_seeds(gains), prior, len(gains), pooled)
    delta = pair.rule.delta
    if delta is None:
        delta = (pair.rule.relative or 0.0) * abs(pair.before.mean)
    if not _was_said(pair):
        delta = max(delta, math.sqrt(baseline.noise.of_seeds(pair.key).variance))
    if not found.freedom:
        reason = "a single seed, and no spread between seeds in the baseline to go by"
        gain = float(gains.mean())
        return pair.finding(Status.INCONCLUSIVE, reason=reason, gain=gain, delta=delta), None
    if pair.key.metric == AREA:
        found = replace(found, images=curve_part(pair, run, baseline.measured))
    if pair.before.unit == "%" and not found.variance:
        step = _step(pair, run, baseline.measured)
        if step is None and found.mean:
            gain = found.mean
            return pair.finding(Status.INCONCLUSIVE, reason=_EQUAL, gain=gain, delta=delta), None
        # Seeds that differ by what an image is worth often look equal: so much is their spread.
        found = replace(found, images=2 * (step or 0.0) ** 2 / len(gains))
    margin = max(delta, pair.rule.margin or 0.0)
    made = pair.finding(Status.INCONCLUSIVE, gain=found.mean, delta=delta, margin=margin)
    return made, found


def _other_network(pair: Pair, run: Measured, before: Measured) -> bool:
    """Whether an accuracy is known to be of other networks: as many images right, by chance."""
    nets = [Trained(*pair.key[:3], seed) for seed in pair.seeds]
    known = [(before.weights.get(net), run.weights.get(net)) for net in nets]
    differ = any(one and other and one != other for one, other in known)
    return pair.key[3:] == ACCURACY and differ


def _step(pair: Pair, run: Measured, before: Measured) -> float | None:
    """What one image is worth, in points; None where it is not known how many there are."""
    attack = pair.key.measure.partition("/")[2]
    sizes: list[int] = []
    for side in (before, run):
        for seed in pair.seeds:
            net = Trained(*pair.key[:3], seed)
            if pair.key[3:] == ACCURACY and net in side.correct:
                sizes.append(len(side.correct[net]))
            elif (net, attack) in side.attacked:
                sizes.append(len(side.attacked[net, attack].l2))
    return 100.0 / min(sizes) if sizes else None


def _was_said(pair: Pair) -> bool:
    """Whether the threshold is somebody's own, which then counts as it is."""
    default = threshold(pair.key, pair.before.unit, "", {})
    return (pair.rule.delta, pair.rule.relative) != (default.delta, default.relative)


def curve_part(pair: Pair, run: Measured, before: Measured) -> float:
    """The variance that other images would bring to the difference of two curves."""
    attack = pair.key.measure.partition("/")[2]
    limit = before.limits[pair.key.dataset, attack]
    rows: list[Floats] = []
    for seed in pair.seeds:
        net = Trained(*pair.key[:3], seed)
        one, other = before.attacked[net, attack], run.attacked[net, attack]
        if not np.array_equal(one.index, other.index):
            return 0.0  # only `compare` gets here; it says that the images differ
        rows.append(withstood(other, limit) - withstood(one, limit))
    return image_part(np.stack(rows))


def _decide(findings: list[Finding], tested: list[tuple[int, Uncertain]]) -> None:
    """Give those that were tested their verdicts, p-values corrected over all of them."""
    adjusted = corrected([found.p_value("below") for _, found in tested])
    for (place, found), p_value in zip(tested, adjusted, strict=True):
        old = findings[place]
        delta, margin = old.delta or 0.0, old.margin or old.delta or 0.0
        bound = found.mean - found.reach(LEVEL)
        status, reason, suspicious = Status.INCONCLUSIVE, "", False
        if found.mean < -delta and p_value < ALPHA:
            status = Status.REGRESSION
        elif bound > -margin:
            status = Status.PASS
        else:
            reason = f"a loss of {margin:.3g} cannot be excluded; {MORE_SEEDS}"
        if old.key.metric == AREA and found.mean > 2 * delta:
            suspicious = True
            reason = "robust accuracy has jumped up: look whether the attack still works"
        findings[place] = replace(
            old, status=status, reason=reason, bound=bound, p_value=p_value, suspicious=suspicious
        )


def _notes(run: Measured, before: Measured) -> Iterator[str]:
    ranked = (key for key, number in run.numbers.items() if number.better != "neither")
    fresh = sorted({"/".join(key[:4]) for key in ranked if key not in before.numbers})
    if fresh:
        named = _first(fresh, 3)
        yield f"{len(fresh)} measured without a baseline: {named}; `bench baseline` adds them"
    lacking: dict[int, list[str]] = {}
    for key, number in before.numbers.items():
        if number.better != "neither" and key in run.numbers:
            for seed in set(run.numbers[key].values) - set(number.values):
                lacking.setdefault(seed, []).append(f"{'/'.join(key[:4])} {key.metric}")
    for seed, names in sorted(lacking.items()):
        yield (
            f"seed {seed} is not in the baseline: {_first(sorted(names), 1)}; "
            "what is shown is over the seeds that both have"
        )
    differs = before.machine.differs(run.machine)
    if differs:
        yield f"another machine: {differs}"


def _first(names: list[str], count: int) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
