"""Timings of further runs: how far those of one network lie apart when nothing has changed.

Efficiency is measured once for each network, of its smallest seed, so a run has one timing and no
spread. What it would have been at another moment, only other runs can tell, on the same kind of
machine. A baseline keeps their timings as they are: thresholds say later whether these are
compared themselves or as ratios to a reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from leaderboard.gate.measured import LOAD, Machine, Measured
from leaderboard.gate.thresholds import kind
from leaderboard.numbers.summary import Key
from leaderboard.numbers.timing import BUSY


@dataclass(frozen=True, slots=True)
class Timed:
    """The timings of a run (and what load there was), by seed, and the machine that they are of."""

    machine: Machine
    values: Mapping[Key, Mapping[int, float]]

    def log(self, key: Key, reference: Key | None) -> float | None:
        """The logarithm of a speed, or of its ratio to the reference's, mean over seeds; None if
        it was not timed."""
        if reference is not None:
            one, other = self.log(key, None), self.log(reference, None)
            return None if one is None or other is None else one - other
        values = self.values.get(key, {}).values()
        if not values or not all(0 < value < math.inf for value in values):
            return None
        return sum(map(math.log, values)) / len(values)

    def busy(self, key: Key) -> bool:
        """Whether others took the machine's time meanwhile."""
        return max(self.values.get(key._replace(metric=LOAD), {}).values(), default=0.0) > BUSY


def timed(run: Measured) -> Timed:
    """What there is of timings in a run."""
    found = {
        key: dict(number.values)
        for key, number in run.numbers.items()
        if key.metric == LOAD or (kind(key) == "speed" and number.better != "neither")
    }
    return Timed(run.machine, found if any(key.metric != LOAD for key in found) else {})
