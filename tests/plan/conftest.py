"""Plans of suites given as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.plan import cost
from bench.plan.cell import Plan
from bench.plan.check import read_suite
from bench.plan.expand import expand

Planned = Callable[[str], Plan]


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """Write the text as a suite into the test's folder and plan it."""

    def plan(text: str) -> Plan:
        file = tmp_path / "suite.yaml"
        file.write_text(text, encoding="utf-8")
        return expand(read_suite(str(file)))

    return plan


@pytest.fixture
def briefly_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it does not matter how near an estimate is, timing a network takes no half a second."""
    monkeypatch.setattr(cost, "SECONDS_EACH", 0.02)
