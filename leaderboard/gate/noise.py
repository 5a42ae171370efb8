"""How much numbers vary by chance: between seeds, and between two trainings of the same seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leaderboard.gate.measured import Measured, Number
from leaderboard.gate.thresholds import kind
from leaderboard.statistics.moderated import NOTHING, Prior, fit
from leaderboard.summary import Key

Floats = NDArray[np.float64]

# Pairs of trainings, over all networks, from which on their differences say more than the
# differences between seeds.
_ENOUGH = 4


class Spread(NamedTuple):
    """A sum of squares about a mean, with its degrees of freedom."""

    squares: float
    freedom: int

    def plus(self, other: Spread) -> Spread:
        """Both together."""
        return Spread(self.squares + other.squares, self.freedom + other.freedom)


@dataclass(frozen=True, slots=True)
class Noise:
    """Spreads of every number (of speeds, of the logarithm).

    `seeds` is that between seeds of one run. `paired` is that of differences between two runs of
    the same seeds, which start from the same weights and see the same batches: it is smaller.
    """

    seeds: Mapping[Key, Spread]
    paired: Mapping[Key, Spread]

    def of_difference(self, key: Key, run: Measured) -> tuple[Prior, float]:
        """The prior of a difference between two trainings, pooled over networks and data sets, and
        how many degrees of freedom it comes from; the spread of the run itself counts, too."""
        paired = _like(key, self.paired)
        if sum(spread.freedom for spread in paired) >= _ENOUGH:
            return _prior(paired), sum(spread.freedom for spread in paired)
        both = dict(self.seeds)
        for other, number in run.numbers.items():
            if other[3:] == key[3:]:
                _add(both, other, _seeds(other, number))
        spreads = _like(key, both)
        return _prior(spreads).times(2), sum(spread.freedom for spread in spreads)

    def of_seeds(self, key: Key) -> Prior:
        """The prior of one value."""
        return _prior(_like(key, self.seeds))


NONE = Noise({}, {})


def noise(runs: Iterable[Measured]) -> Noise:
    """The noise of runs of one suite: the first is the baseline's own, others are its history."""
    runs = [*runs]
    seeds: dict[Key, Spread] = {}
    paired: dict[Key, Spread] = {}
    for run in runs:
        for key, number in run.numbers.items():
            _add(seeds, key, _seeds(key, number))
    for one, other in combinations(runs, 2):
        for key, number in one.numbers.items():
            if key in other.numbers:
                _add(paired, key, _differences(key, number, other.numbers[key]))
    return Noise(seeds, paired)


def _add(found: dict[Key, Spread], key: Key, spread: Spread) -> None:
    if spread.freedom > 0:
        found[key] = found[key].plus(spread) if key in found else spread


def _seeds(key: Key, number: Number) -> Spread:
    return _spread(number, _values(key, number, sorted(number.values)))


def _differences(key: Key, one: Number, other: Number) -> Spread:
    seeds = sorted(set(one.values) & set(other.values))
    if not seeds:
        return Spread(0.0, 0)
    gaps = _values(key, other, seeds) - _values(key, one, seeds)
    # The very same numbers are no second training: they say nothing of chance.
    return _spread(one, gaps) if gaps.any() else Spread(0.0, 0)


def _values(key: Key, number: Number, seeds: Iterable[int]) -> Floats:
    values = np.array([number.values[seed] for seed in seeds], dtype=np.float64)
    if kind(key) == "speed":
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(values), dtype=np.float64)
    return values


def _spread(number: Number, values: Floats) -> Spread:
    if number.better == "neither" or len(values) < 2 or not np.isfinite(values).all():
        return Spread(0.0, 0)
    if not (values != values[0]).any():
        return Spread(0.0, len(values) - 1)
    return Spread(float(((values - values.mean()) ** 2).sum()), len(values) - 1)


def _like(key: Key, spreads: Mapping[Key, Spread]) -> list[Spread]:
    """Those of the same metric on all networks."""
    return [spread for other, spread in spreads.items() if other[3:] == key[3:]]


def _prior(spreads: Iterable[Spread]) -> Prior:
    known = [spread for spread in spreads if spread.freedom > 0]
    if not known:
        return NOTHING
    return fit([s.squares / s.freedom for s in known], [s.freedom for s in known])
