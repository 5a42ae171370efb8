"""What kinds of attacks a plan has, and up to which size each is summed up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError

from bench.attacks.info import info
from bench.errors import did_you_mean
from bench.measures.robustness import Options, dataset_of
from bench.plan.cell import Cell, Plan
from bench.suite.schema import MeasureRef
from bench.suite.yaml_tree import Problem, Tree

LIMITS = "limits"


def attack_infos(plan: Plan) -> dict[str, dict[str, Any]]:
    """What kind of attack each label of the plan is, as plain data for `store.read`."""
    found: dict[str, dict[str, Any]] = {}
    for cell in plan.cells:
        ref = getattr(cell.options, "attack", None)
        if cell.item is None or ref is None:
            continue
        if cell.item not in found:
            found[cell.item] = {**asdict(info(ref.name, ref.options)), LIMITS: {}}
        end = _limit(cell)
        if end is not None:
            found[cell.item][LIMITS][cell.training.dataset.label] = end
    return found


def check_limits(
    tree: Tree, datasets: Sequence[str], measures: Iterable[tuple[int, MeasureRef]]
) -> Iterator[Problem]:
    """Yield the limits of the measures that are for another data set than the suite's."""
    for index, ref in measures:
        given = ref.options.get(LIMITS) if ref.name == "robustness" else None
        if not isinstance(given, dict):
            continue
        try:
            labels = [attack.label for attack in Options.model_validate(ref.options).attacks]
        except ValidationError:
            continue  # reported as such
        for key in given:
            dataset = dataset_of(key, labels)
            if dataset and dataset not in datasets:
                text = f"'{dataset}' is no data set of the suite{did_you_mean(dataset, datasets)}"
                yield tree.problem(("measures", index, ref.name, LIMITS, key), text)


def _limits(cell: Cell) -> dict[str, float]:
    given = cell.given or {}
    return dict(given.get(LIMITS) or {}) if cell.measure == "robustness" else {}


def _limit(cell: Cell) -> float | None:
    """For this data set alone, else for all."""
    limits = _limits(cell)
    names = (f"{cell.training.dataset.label}/{cell.item}", cell.item)
    return next((float(limits[name]) for name in names if name in limits), None)
