"""What the benchmarks share: one thread, and the table of attacks when all is measured."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
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


@pytest.fixture
def one_thread() -> Iterator[None]:
    """CPU time is compared on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
