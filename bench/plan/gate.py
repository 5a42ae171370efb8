"""Whether the thresholds of a suite (`gate:`) mean something in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from pydantic import ValidationError

from bench.errors import BenchError, did_you_mean
from bench.measures import base as measures
from bench.suite.schema import MeasureRef
from bench.suite.yaml_tree import Problem, Tree

# The gate looks at attacks by the area under their curve, which the leaderboard takes.
_CURVES = "robustness"
# What it may divide by that of another network.
_SPEEDS = ("efficiency/images_per_second", "efficiency/latency")


def check_gate(tree: Tree, pairs: Iterable[str], refs: Iterable[MeasureRef]) -> Iterator[Problem]:
    """Yield the problems of patterns and references.

    Args:
        tree: the suite.
        pairs: its networks, `dataset/backbone/variant`.
        refs: its measures.
    """
    gate = tree.data.get("gate") if isinstance(tree.data, dict) else None
    if not isinstance(gate, dict):
        return
    nets, names = [*pairs], numbers(refs)
    speeds = [name for name in names if name.startswith(_SPEEDS)]
    for pattern, value in gate.items():
        if names and not _fits(pattern, names, nets):
            text = f"fits no number that this suite measures{did_you_mean(pattern, names)}"
            yield tree.problem(("gate", pattern), text)
        reference = value.get("reference") if isinstance(value, dict) else None
        if isinstance(reference, str) and nets and reference not in nets:
            text = f"no network '{reference}' in this suite{did_you_mean(reference, nets)}"
            yield tree.problem(("gate", pattern, "reference"), text)
        elif reference and names and not _fits(pattern, speeds, nets):
            text = f"a reference divides speeds, and '{pattern}' fits none of this suite"
            yield tree.problem(("gate", pattern, "reference"), text)


def numbers(refs: Iterable[MeasureRef]) -> list[str]:
    """`measure/metric` of all that the gate can compare; nothing if some measure cannot tell."""
    found = []
    for measure, names in titled(refs):
        if not measure.metrics:  # a plugin that declares none
            return []
        shown = [metric for metric, info in measure.metrics.items() if info.headline]
        metrics = ["area"] if measure.name == _CURVES else shown
        found += [f"{name}/{metric}" for name in names for metric in metrics]
    return found


def titles(refs: Iterable[MeasureRef]) -> list[str]:
    """`measure` or `measure/item` of all that is measured; nothing if some measure cannot tell."""
    return [name for _, names in titled(refs) for name in names]


def titled(refs: Iterable[MeasureRef]) -> list[tuple[measures.Measure, list[str]]]:
    """Each measure and its `measure` or `measure/item`; nothing if some measure cannot tell."""
    found = []
    for ref in refs:
        try:
            measure = measures.load(ref.name)
            items = [*measure.items(measure.options.model_validate(ref.options))]
        except (BenchError, ValidationError):
            return []
        labels = [item.label for item in items]
        names = [measure.name if label is None else f"{measure.name}/{label}" for label in labels]
        found.append((measure, names))
    return found


def _fits(pattern: str, names: Iterable[str], nets: Iterable[str]) -> bool:
    known = [*names]
    if any(fnmatchcase(name, pattern) for name in known):
        return True
    return any(fnmatchcase(f"{net}/{name}", pattern) for net in nets for name in known)
