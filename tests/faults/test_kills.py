"""kill -9 at random instants: nothing is lost, nothing is wrong, the next run carries on."""

from __future__ import annotations

from pathlib import Path

import pytest
from kill_harness import Harness


@pytest.mark.slow
def test_two_kills(tmp_path: Path) -> None:
    """With this seed, on a machine that is not busy, both are in the middle of a run."""
    assert_same_tables(Harness(tmp_path, seeds=1, seed=4), kills=2)


@pytest.mark.slow
def test_fifty_kills(tmp_path: Path) -> None:
    assert_same_tables(Harness(tmp_path, seeds=2, seed=0), kills=50)


def assert_same_tables(harness: Harness, kills: int) -> None:
    tally = harness.go(kills)
    assert tally.wrong == []
    assert tally.kills == kills
    assert tally.compared >= 1
