"""The gate itself, on real quickstart networks: false alarms, and losses that it must see."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from simulated import Change, drawn, lost, slower

from leaderboard.gate.finding import Exit, Status
from leaderboard.gate.judge import judge

DRAWS = 120  # in a few seconds; the slow tests take 1,000


def exits(
    draws: int, seeds: int = 5, change: Change | None = None, history: bool = True
) -> Counter[Exit]:
    found: Counter[Exit] = Counter()
    for draw in range(draws):
        baseline, run = drawn(np.random.default_rng([seeds, draw]), seeds, history)
        found[judge(change(run) if change else run, baseline).exit] += 1
    return found


def test_noise_is_no_regression() -> None:
    assert exits(DRAWS)[Exit.REGRESSION] <= 3  # at 1 %, four or more are one in thirty


def test_a_loss_of_accuracy_on_the_board_is_seen() -> None:
    found = exits(DRAWS, change=lost(1.5))
    assert found[Exit.REGRESSION] >= 0.92 * DRAWS
    assert not found[Exit.PASS]


def test_a_slowdown_of_one_network_is_seen() -> None:
    assert exits(DRAWS, change=slower(0.1, ("bu",)))[Exit.REGRESSION] >= 0.95 * DRAWS


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_at_most_one_false_alarm_in_a_hundred(seeds: int) -> None:
    found = exits(1000, seeds)
    print(seeds, found)
    assert found[Exit.REGRESSION] <= 10


@pytest.mark.slow
def test_a_baseline_without_history_alarms_hardly_more_often() -> None:
    found = exits(1000, 5, history=False)
    print(found)
    assert found[Exit.REGRESSION] <= 25


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "least"),
    [
        (lost(1.5), 950),  # wherever it comes from: training, data, evaluation
        (lost(1.5, ("td",)), 750),  # one of two networks, of seeds that differ by 0.6 points
        (lost(2.0, ("td",)), 950),
        (slower(0.1, ("bu",)), 950),
        (slower(0.1, ("td",)), 950),
    ],
    ids=["accuracy", "accuracy of td", "2 points of td", "speed of bu", "speed of td"],
)
def test_injected_losses(change: Change, least: int) -> None:
    found = exits(1000, 5, change)
    print(found)
    assert found[Exit.REGRESSION] >= least
    assert not found[Exit.PASS]


@pytest.mark.slow
@pytest.mark.parametrize("net", ["bu", "td"])
def test_seven_seeds_see_what_one_network_has_lost(net: str) -> None:
    """Of seeds that differ by half a point, five are too few for one network alone: a test that
    knew their spread exactly would see 1.5 points in 94 of 100 cases, at one false alarm in 100
    that is shared by the board's six numbers."""
    found = exits(1000, 7, lost(1.5, (net,)))
    print(net, found)
    assert found[Exit.REGRESSION] >= 950
    assert not found[Exit.PASS]


def test_the_same_loss_again_and_again_is_told_by_name() -> None:
    baseline, run = drawn(np.random.default_rng(1), 5)
    judgement = judge(lost(3.0, ("td",))(run), baseline)
    bad = [found.name for found in judgement.findings if found.status is Status.REGRESSION]
    assert bad == ["fashion-mnist-mini/lenet_fc/td/accuracy top1"]
