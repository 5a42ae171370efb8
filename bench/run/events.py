"""What a unit tells while it works; plain data that crosses process borders."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.plan.cell import Cell
from bench.store.outcome import Failed, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
class CellWarning:
    """Something in a cell warned of something."""

    cell: Cell
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class CellPart:
    """A part of a cell is finished; it is kept in case the cell is interrupted."""

    cell: Cell
    name: str
    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class CellFinished:
    """A cell is done or has failed."""

    cell: Cell
    outcome: Outcome

    @classmethod
    def without_outcome(cls, cell: Cell, error: Failed) -> CellFinished:
        """The end of a cell that has failed, for a reason that did not come out of it."""
        return cls(cell, Outcome(time.time(), 0.0, 0.0, error=error))


Event = CellStarted | CellProgress | CellWarning | CellPart | CellFinished
