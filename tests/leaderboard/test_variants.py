import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from synthetic_results import results

from leaderboard.numbers.variants import against_baseline
from leaderboard.statistics.verdict import Verdict


def test_one_comparison_is_students_paired_t() -> None:
    board = results(seeds=(0, 1, 2, 3), attacks=())
    board = replace(board, rows=tuple(r for r in board.rows if r.measure == "accuracy"))
    (found,) = against_baseline(board)
    one, other = (
        [r.value for r in board.rows if r.variant == v and r.metric == "top1"] for v in ("td", "bu")
    )
    wanted = stats.ttest_rel(one, other)
    assert found.compared.p_value == pytest.approx(wanted.pvalue)
    ends = wanted.confidence_interval(0.95)
    assert (found.compared.low, found.compared.high) == pytest.approx((ends.low, ends.high))
    gaps = np.subtract(one, other)
    assert found.compared.effect == pytest.approx(gaps.mean() / gaps.std(ddof=1))


def test_p_values_are_corrected_over_the_board() -> None:
    found = against_baseline(results(seeds=(0, 1, 2), variants=("bu", "td", "td_uni")))
    assert {one.key.variant for one in found} == {"td", "td_uni"}
    assert any(one.key.metric == "area" for one in found)
    raw = [one.compared.p_value for one in found]
    assert [one.compared.corrected for one in found] == pytest.approx(
        stats.false_discovery_control(raw)
    )
    parameters = [one for one in found if one.key.metric == "parameters"]
    assert {one.verdict for one in parameters} == {Verdict.WORSE}  # more, for every seed


def test_noise_alone_is_rarely_more() -> None:
    """Variants that are the same: hardly a board has a false finding."""
    rng = np.random.default_rng(1)
    board = results(seeds=(0, 1, 2), backbones=("a", "b", "c"), attacks=())
    rows = tuple(r for r in board.rows if r.metric == "top1")
    false = 0
    for _ in range(200):
        noisy = tuple(replace(row, value=80 + rng.normal()) for row in rows)
        found = against_baseline(replace(board, rows=noisy))
        false += any(one.verdict is not Verdict.INCONCLUSIVE for one in found)
    assert false <= 20  # 5 % are 10


def test_what_has_no_partner_is_left_out() -> None:
    assert against_baseline(results(variants=("td",))) == []
    assert against_baseline(results(seeds=(0,))) == []


def test_seeds_that_agree_by_chance_decide_nothing() -> None:
    """Two accuracies of 500 images agree in one of 20 cases; that is not certainty."""
    board = results(seeds=(0, 1), attacks=())
    gain = {"bu": 0.0, "td": 0.6}
    rows = tuple(
        replace(row, value=80 + row.seed + gain[row.variant])
        for row in board.rows
        if row.metric == "top1"
    )
    (found,) = against_baseline(replace(board, rows=rows))
    assert found.compared.difference == pytest.approx(0.6)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.compared.p_value == 1


def test_accuracies_that_are_equal_by_chance_are_not_shown_to_be_the_same() -> None:
    """As 100 images often have it; costs that are equal are."""
    board = results(seeds=(0, 1), attacks=())
    rows = tuple(replace(row, value=80.0) for row in board.rows)
    found = {one.key.metric: one for one in against_baseline(replace(board, rows=rows))}
    assert found["top1"].verdict is Verdict.INCONCLUSIVE
    assert (found["top1"].compared.difference, found["top1"].compared.low) == (0, -math.inf)
    assert found["parameters"].verdict is Verdict.EQUIVALENT
