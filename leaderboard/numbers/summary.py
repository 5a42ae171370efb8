"""Tidy rows aggregated over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from leaderboard.remembered import remembered
from leaderboard.results import Row

BASELINE = "bu"  # the variant that others of a backbone are compared with
ACCURACY = ("accuracy", "top1")  # measure and metric
AREA = "area"  # the metric under the curve of an attack, which no cell records


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

    `sd` is None where it does not exist: for a single seed, and where a value is infinite, as
    `infinite` of them are.
    """

    mean: float
    sd: float | None
    n: int
    infinite: int = 0


def summarize(values: Sequence[float]) -> Summary:
    """Mean, standard deviation and count of at least one value; a mean with inf is inf."""
    if math.inf in values:
        return Summary(math.inf, None, len(values), sum(value == math.inf for value in values))
    first = float(values[0])
    if len(values) > 1 and all(value == first for value in values):  # as counted quantities are
        return Summary(first, 0.0, len(values))
    try:
        mean = math.fsum(values) / len(values)
        if len(values) == 1:
            return Summary(mean, None, 1)
        squares = math.fsum((value - mean) ** 2 for value in values)
    except OverflowError:  # two finite values can lie further apart than a float reaches
        return Summary(statistics.mean(map(float, values)), math.inf, len(values))
    return Summary(mean, math.sqrt(squares / (len(values) - 1)), len(values))


def by_seed(rows: Iterable[Row]) -> Mapping[Key, Mapping[int, float]]:
    """The rows' values by key, then seed. A seed that comes twice is refused: n would lie."""
    # Every part of a page asks for the table of the same rows.
    return _of_tuple(rows) if isinstance(rows, tuple) else _by_seed(rows)


def _by_seed(rows: Iterable[Row]) -> dict[Key, dict[int, float]]:
    table: dict[Key, dict[int, float]] = {}
    for row in rows:
        # A plain tuple finds a `Key`, and is made in a fraction of the time.
        place = (row.dataset, row.backbone, row.variant, row.measure, row.metric)
        seeds = table.get(place)  # type: ignore[call-overload]
        if seeds is None:
            seeds = table[Key(*place)] = {}
        if row.seed in seeds:
            raise ValueError(f"{'/'.join(place)}: seed {row.seed} comes twice")
        seeds[row.seed] = row.value
    return table


_of_tuple = remembered(_by_seed)


def aggregate(rows: Iterable[Row]) -> dict[Key, Summary]:
    """A `Summary` over seeds for each (dataset, backbone, variant, measure, metric)."""
    return {key: summarize([*seeds.values()]) for key, seeds in by_seed(rows).items()}
