"""How much numbers vary by chance: between seeds, and between two trainings of the same seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leaderboard.gate.measured import Measured, Number
from leaderboard.gate.thresholds import kind
from leaderboard.gate.timed import Timed, timed
from leaderboard.numbers.summary import Key
from leaderboard.statistics.moderated import NOTHING, Prior, fit

Floats = NDArray[np.float64]

# Degrees of freedom, over all networks, from which on the differences between trainings of the
# same seeds say more than the differences between seeds.
_ENOUGH = 4
# Residuals below this share of the values are rounding.
_ROUNDING = 1e-10


class Spread(NamedTuple):
    """A sum of squares with its degrees of freedom; their ratio is the variance."""

    squares: float
    freedom: int

    def plus(self, other: Spread) -> Spread:
        """Both together."""
        return Spread(self.squares + other.squares, self.freedom + other.freedom)


@dataclass(frozen=True, slots=True)
class Noise:
    """Spreads of every number (of speeds, of the logarithm).

    `seeds` is that between seeds of one run. `paired` is that of differences between two runs of
    the same seeds, which start from the same weights and see the same batches: it is smaller. R
    runs of the same S seeds know it with (R - 1)(S - 1) degrees of freedom.

    `timed` are the timings of further runs. What such a run has in common for all seeds is the
    moment at which it was timed, which is chance; with trainings it is the code.
    """

    seeds: Mapping[Key, Spread]
    paired: Mapping[Key, Spread]
    timed: tuple[Timed, ...] = ()

    def of_difference(self, key: Key, run: Measured) -> tuple[Prior, float]:
        """The prior of a difference between two trainings, pooled over networks and data sets, and
        how many degrees of freedom it comes from; the spread of the run itself counts, too."""
        paired = _like(key, self.paired)
        if sum(spread.freedom for spread in paired) >= _ENOUGH:
            return _prior(paired), sum(spread.freedom for spread in paired)
        both = dict(self.seeds)
        for other, number in run.numbers.items():
            if other[3:] == key[3:]:
                for one in _trainings(other, [number]):
                    _add(both, other, _spread(np.array([*one.values()])))
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
    for key in dict.fromkeys(key for run in runs for key in run.numbers):
        found = _trainings(key, [run.numbers[key] for run in runs if key in run.numbers])
        for one in found:
            _add(seeds, key, _spread(np.array([*one.values()])))
        _add(paired, key, _differences(found))
    further = (timed(run) for run in runs[1:])
    return Noise(seeds, paired, tuple(one for one in further if one.values))


def _add(found: dict[Key, Spread], key: Key, spread: Spread) -> None:
    if spread.freedom > 0:
        found[key] = found[key].plus(spread) if key in found else spread


def _trainings(key: Key, numbers: Iterable[Number]) -> list[dict[int, float]]:
    """The values of each run by seed, without those of another run's trainings.

    Where a run has the very same numbers as an earlier one for all seeds in common, these are no
    second training: they say nothing of chance.
    """
    whole: list[dict[int, float]] = []
    found: list[dict[int, float]] = []
    for number in numbers:
        seeds = sorted(number.values)
        values = _values(key, number, seeds)
        if number.better == "neither" or not np.isfinite(values).all():
            continue
        one = dict(zip(seeds, values.tolist(), strict=True))
        copied: set[int] = set()
        for other in whole:
            shared = one.keys() & other.keys()
            if all(one[seed] == other[seed] for seed in shared):
                copied |= shared
        whole.append(one)
        found.append({seed: value for seed, value in one.items() if seed not in copied})
    return found


def _differences(runs: Sequence[Mapping[int, float]]) -> Spread:
    """The spread of differences between two runs of the same seeds.

    It is twice that of one value about the sum of an effect of its seed and one of its run (a
    two-way analysis of variance). Pairs of runs, looked at one by one, have the same variance on
    average, but are not independent of each other.
    """
    cells = [(n, seed, value) for n, run in enumerate(runs) for seed, value in run.items()]
    if not cells:
        return Spread(0.0, 0)
    run_of, seed_of, values = (np.array(column) for column in zip(*cells, strict=True))
    effects = [column[:, None] == np.unique(column) for column in (run_of, seed_of)]
    design = np.concatenate(effects, axis=1).astype(np.float64)
    # Seeds need not be the same in all runs: the rank counts the effects that can be told apart.
    fitted, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    rest = values - design @ fitted
    if np.abs(rest).max() <= _ROUNDING * np.abs(values).max():
        rest[:] = 0.0
    return Spread(2 * float((rest**2).sum()), len(values) - int(rank))


def _values(key: Key, number: Number, seeds: Iterable[int]) -> Floats:
    values = np.array([number.values[seed] for seed in seeds], dtype=np.float64)
    if kind(key) == "speed":
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(values), dtype=np.float64)
    return values


def _spread(values: Floats) -> Spread:
    if len(values) < 2:
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
