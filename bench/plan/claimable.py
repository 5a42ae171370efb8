"""Which numbers there are to claim something of, as globs over `measure/metric`."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence

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
