"""Python's warnings as events, so that they are in the log of the cell that caused them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from bench.plan.cell import Cell
from bench.run.events import CellWarning, Event


@contextmanager
def warned(cell: Cell, emit: Callable[[Event], None]) -> Iterator[None]:
    """Have warnings told within, besides being shown as ever."""
    before = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        emit(CellWarning(cell, f"{category.__name__}: {message} ({Path(filename).name}:{lineno})"))
        before(message, category, filename, lineno, file, line)

    # Not `catch_warnings`, which would have each warning shown again in every cell.
    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
