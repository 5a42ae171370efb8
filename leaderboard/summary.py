"""Tidy rows aggregated over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from leaderboard.results import Row


class Key(NamedTuple):
    """What a mean is taken over the seeds of."""

    dataset: str
    backbone: str
    variant: str
    measure: str
    metric: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean and sample standard deviation (n - 1) of `n` seeds.

    `sd` is None where it does not exist: for a single seed, and where a value is infinite.
    """

    mean: float
    sd: float | None
    n: int


def summarize(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and count of at least one value; a mean with inf is inf."""
    if math.inf in values:
        return Summary(math.inf, None, len(values))
    # `statistics` is exact: equal values have exactly their own mean and no deviation.
    mean = statistics.mean(map(float, values))
    if len(values) == 1:
        return Summary(mean, None, 1)
    return Summary(mean, _deviation(values), len(values))


def by_seed(rows: Iterable[Row]) -> Mapping[Key, Mapping[int, float]]:
    """The rows' values by key, then seed. A seed that comes twice is refused: n would lie."""
    if not isinstance(rows, tuple):
        return _by_seed(rows)
    # Every part of a page asks for the table of the same rows, which cannot change.
    if not _LAST or _LAST[0][0] is not rows:
        _LAST[:] = [(rows, _by_seed(rows))]
    return _LAST[0][1]


_LAST: list[tuple[tuple[Row, ...], Mapping[Key, Mapping[int, float]]]] = []


def _by_seed(rows: Iterable[Row]) -> dict[Key, dict[int, float]]:
    table: dict[Key, dict[int, float]] = {}
    for row in rows:
        key = Key(row.dataset, row.backbone, row.variant, row.measure, row.metric)
        seeds = table.setdefault(key, {})
        if row.seed in seeds:
            raise ValueError(f"{'/'.join(key)}: seed {row.seed} comes twice")
        seeds[row.seed] = row.value
    return table


def aggregate(rows: Iterable[Row]) -> dict[Key, Summary]:
    """A `Summary` over seeds for each (dataset, backbone, variant, measure, metric)."""
    return {key: summarize([*seeds.values()]) for key, seeds in by_seed(rows).items()}


def _deviation(values: Sequence[float]) -> float:
    try:
        return statistics.stdev(values)
    except OverflowError:  # two finite values can lie further apart than a float reaches
        return math.inf
