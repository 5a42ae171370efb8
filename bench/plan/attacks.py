"""What kinds of attacks a plan has."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bench.attacks.info import info
from bench.plan.cell import Plan


def attack_infos(plan: Plan) -> dict[str, dict[str, Any]]:
    """What kind of attack each label of the plan is, as plain data for `store.read`."""
    labels = {
        cell.item: attack
        for cell in plan.cells
        if cell.item is not None
        for attack in (getattr(cell.options, "attack", None),)
        if attack is not None
    }
    return {label: asdict(info(ref.name, ref.options)) for label, ref in labels.items()}
