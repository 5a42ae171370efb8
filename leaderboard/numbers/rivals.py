"""Which of two attacks fools a network with less: a weaker one that does is a sign of a broken
evaluation or of masked gradients.

Compared in the stronger attack's own norm, image by image, at its epsilons; at eight sizes of the
perturbation where it has none. A sample's distances are those of its closest adversarial by L2,
which may come of a larger epsilon: so a success at an epsilon counts by itself too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from leaderboard.numbers.aligned import numbers
from leaderboard.numbers.curves import REACHED
from leaderboard.results import AttackInfo, Sample

Floats = NDArray[np.float64]
Run = tuple[Sample, AttackInfo]

MARGIN = 0.2  # points: AutoAttack's threshold for what Square may add
_CHANCE = 0.001  # of a finding where both attacks are equally good
_SIZES = 8


@dataclass(frozen=True, slots=True)
class Lead:
    """At `budget`, the weaker attack takes `points` more accuracy than the stronger."""

    budget: float
    points: float


def lead(weak: Run, strong: Run) -> Lead | None:
    """Where the weaker attack leads most, if it does on some epsilon by more than `MARGIN` points
    and by more than chance: an exact one-sided McNemar test, shared out over all epsilons.

    Args:
        weak: images under the attack that ought to be the weaker, and its info.
        strong: the same network's images under the stronger, and its info.
    """
    info = strong[1]
    pair = _paired([weak, strong], info.norm)
    if pair is None:
        return None
    budgets = _budgets(info, pair)
    found: Lead | None = None
    for budget in budgets:
        first, second = (distances <= budget * REACHED for distances in pair)
        only_weak, only_strong = int((first & ~second).sum()), int((second & ~first).sum())
        points = 100.0 * (only_weak - only_strong) / len(first)
        # At least so many of the images that the attacks disagree on, if they were like coins.
        chance = float(bdtrc(only_weak - 1, only_weak + only_strong, 0.5)) if only_weak else 1.0
        sure = points > MARGIN and chance < _CHANCE / len(budgets)
        if sure and (found is None or points > found.points):
            found = Lead(budget, points)
    return found


def gain(last: Run, others: Sequence[Run]) -> Lead | None:
    """Where the last attack fools most images that none of the others does, if that is ever more
    than `MARGIN` points. Others count at the epsilons that they were run at.

    Args:
        last: images under the attack that should add nothing, and its info.
        others: the same network's images under other attacks, and their infos.
    """
    info = last[1]
    usable = [(sample, other) for sample, other in others if other.norm == info.norm]
    stack = _paired([last, *usable], info.norm) if usable else None
    if stack is None:
        return None
    found: Lead | None = None
    for budget in _budgets(info, stack[:1]):
        ran = [
            row
            for row, (_, other) in zip(stack[1:], usable, strict=True)
            if not other.strengths or budget in other.strengths
        ]
        if not ran:
            continue
        fooled = (np.stack(ran) <= budget * REACHED).any(0)
        points = 100.0 * float(((stack[0] <= budget * REACHED) & ~fooled).mean())
        if points > MARGIN and (found is None or points > found.points):
            found = Lead(budget, points)
    return found


def _paired(runs: Sequence[Run], norm: str) -> Floats | None:
    """Distances on the images that all of the samples have: samples x images."""
    places = [dict(zip(numbers(s), range(s.l2.size), strict=True)) for s, _ in runs]
    common = sorted(set(places[0]).intersection(*places[1:]))
    rows = []
    for run, place in zip(runs, places, strict=True):
        distances = _reached(*run, norm)
        if distances is None or not common:
            return None
        rows.append(distances[[place[image] for image in common]])
    return np.stack(rows)


def _reached(sample: Sample, info: AttackInfo, norm: str) -> Floats | None:
    """The least size in a norm that is known to fool each image: of the adversarial that was kept,
    or the smallest epsilon at which the attack fooled it."""
    distances, robust = sample.distances(norm), sample.robust
    if distances is None or robust is None or info.norm != norm or not info.strengths:
        return distances
    if robust.shape[1] != len(info.strengths):  # of other epsilons
        return distances
    least: Floats = np.where(robust, np.inf, np.array(info.strengths)).min(1)
    return np.minimum(distances, least)


def _budgets(info: AttackInfo, distances: Floats) -> list[float]:
    if info.strengths:
        return [*info.strengths]
    found = distances[(distances > 0) & np.isfinite(distances)]
    shares = np.arange(1, _SIZES + 1) / _SIZES
    return [float(size) for size in np.quantile(found, shares)] if found.size else []
