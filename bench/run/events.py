"""What a unit tells while it works; plain data that crosses process borders."""

from __future__ import annotations

from dataclasses import dataclass

from bench.plan.cell import Cell
from bench.store.outcome import Outcome


@dataclass(frozen=True, slots=True)
class CellStarted:
    """A cell begins."""

    cell: Cell


@dataclass(frozen=True, slots=True)
class CellProgress:
    """A cell has got as far as `share` (0..1); `text` is for people."""

    cell: Cell
    share: float
    text: str


@dataclass(frozen=True, slots=True)
class CellFinished:
    """A cell is done or has failed."""

    cell: Cell
    outcome: Outcome


Event = CellStarted | CellProgress | CellFinished
