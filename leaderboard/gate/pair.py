"""A number of a baseline and the same number of a run, side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from leaderboard.gate.finding import Finding, Status
from leaderboard.gate.measured import SIDES, Measured, Number, Sides
from leaderboard.gate.thresholds import Threshold
from leaderboard.numbers.batches import BATCHES
from leaderboard.numbers.summary import Key

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pair:
    """A number on both sides, and how it is to be judged. `sign` makes a gain positive."""

    key: Key
    before: Number
    after: Number
    rule: Threshold

    @property
    def seeds(self) -> list[int]:
        return sorted(self.before.values)

    def shared(self) -> Pair:
        """The same over the seeds of the baseline, which the run must have."""
        values = {seed: self.after.values[seed] for seed in self.seeds}
        return replace(self, after=replace(self.after, values=values))

    @property
    def sign(self) -> int:
        return -1 if self.before.better == "lower" else 1

    def values(self, number: Number) -> Floats:
        """Its values in the order of the seeds."""
        return np.array([number.values[seed] for seed in self.seeds], dtype=np.float64)

    @property
    def identical(self) -> bool:
        """Whether nothing differs for any seed, which is no test of chance."""
        return bool((self.values(self.before) == self.values(self.after)).all())

    def finding(self, status: Status, **more: object) -> Finding:
        """A finding with this pair's means."""
        means = {"before": self.before.mean, "after": self.after.mean}
        return Finding(self.key, self.before.unit, status, **(means | more))  # type: ignore[arg-type]


def other_batch(key: Key, before: Measured, after: Measured, sides: Sides = SIDES) -> str:
    """That a cost is of another batch on either side, for a sentence; empty where it is not, or
    where that is not known."""
    metric = BATCHES.get(key.metric)
    found = [
        min(side.numbers[batch].values.values())
        for side in (before, after)
        if metric and (batch := key._replace(metric=metric)) in side.numbers
    ]
    if len({*found}) < 2:
        return ""
    return f"of batches of {found[0]:.0f} {sides[0]}, of {found[1]:.0f} {sides[1]}"
