"""The table of the speed comparison, printed when all is measured."""

from __future__ import annotations

import pytest
from attack_speed import ROWS

HEADER = (
    "attack",
    "against",
    "asked ours",
    "theirs",
    "CPU s ours",
    "theirs",
    "ratio",
    "L2 ours",
    "theirs",
    "found ours",
    "theirs",
)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not ROWS:
        return
    table = [HEADER, *ROWS]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    terminalreporter.section("speed of attacks: predictions an image, CPU time, median L2")
    for row in table:
        cells = [
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        terminalreporter.write_line("  ".join(cells))
