"""Which numbers there are to claim something of, as globs over `measure/metric`."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from bench.attacks import base as attacks
from bench.errors import BenchError
from bench.measures import base as measures

ATTACKED = "robustness"
_OF_CURVES = ("area", "loss")  # which the leaderboard makes

Measured = Sequence[tuple[measures.Measure, Sequence[str]]]


def measured(found: Measured) -> list[str]:
    """Of measures and their `measure` or `measure/item`."""
    return [
        f"{glob.escape(name)}/{metric}"
        for measure, names in found
        for name in names
        for metric in _metrics(measure)
    ]


def kinds(numbers: Sequence[str], found: Measured) -> set[bool]:
    """Whether what these globs mean is in percent: both, where they mean numbers of both kinds.

    Args:
        numbers: globs over `measure/metric`.
        found: the measures of a suite.
    """
    kinds = set()
    for measure, names in found:
        units = {metric: info.unit for metric, info in measure.metrics.items()}
        if measure.name == ATTACKED:
            units |= dict.fromkeys(_OF_CURVES, "%")
        for name in names:
            for metric, unit in units.items():
                if any(fnmatchcase(f"{name}/{metric}", pattern) for pattern in numbers):
                    kinds.add(unit == "%")
    return kinds


def registered(labels: Iterable[str], plugins: Iterable[str]) -> list[str]:
    """Of every registered measure, whatever its options.

    Args:
        labels: of attacks, other than those that are registered.
        plugins: names of measures that are not registered, of which nothing is known.
    """
    attacked = [glob.escape(label) for label in dict.fromkeys([*attacks.REGISTRY.entries, *labels])]
    found = []
    for name in measures.REGISTRY.entries:
        try:
            measure = measures.load(name)
        except BenchError:
            found.append(f"{glob.escape(name)}/*")
            continue
        title = glob.escape(measure.name)
        items = [f"{title}/{label}" for label in attacked]
        names = items if measure.name == ATTACKED else [title, f"{title}/*"]
        found += [f"{one}/{metric}" for one in names for metric in _metrics(measure)]
    return [*found, *(f"{glob.escape(name)}/*" for name in plugins)]


def _metrics(measure: measures.Measure) -> list[str]:
    """A metric may have parts, such as `top1[cat]`; what declares none may give anything."""
    more = _OF_CURVES if measure.name == ATTACKED else ()
    plain = [*map(glob.escape, measure.metrics), *more]
    return [*plain, *(f"{name}[[]*]" for name in plain)] if measure.metrics else ["*"]
