"""What kinds of attacks a plan has, and up to which size each is summed up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from bench.attacks.info import info
from bench.errors import BenchError, did_you_mean
from bench.plan.cell import Cell, Plan

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


def require_limits(cells: Iterable[Cell], datasets: Iterable[str]) -> None:
    """See whether limits of the measures are for data sets of the suite.

    Raises:
        BenchError: one is for another.
    """
    known = list(datasets)
    for key in dict.fromkeys(key for cell in cells for key in _limits(cell)):
        dataset, slash, _ = key.rpartition("/")
        if slash and dataset not in known:
            near = did_you_mean(dataset, known)
            raise BenchError(
                f"measures: `{LIMITS}: {key}`: '{dataset}' is no data set of the suite{near}"
            )


def _limits(cell: Cell) -> dict[str, float]:
    given = cell.given or {}
    return dict(given.get(LIMITS) or {}) if cell.measure == "robustness" else {}


def _limit(cell: Cell) -> float | None:
    """For this data set alone, else for all."""
    limits = _limits(cell)
    names = (f"{cell.training.dataset.label}/{cell.item}", cell.item)
    return next((float(limits[name]) for name in names if name in limits), None)
