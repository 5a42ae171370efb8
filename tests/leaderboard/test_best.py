"""The most accurate network against the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from synthetic_results import results

import leaderboard
from leaderboard import MetricInfo, Results, Row
from leaderboard.blocks import Grid, Heading
from leaderboard.numbers.best import best_networks
from leaderboard.sections.best import best_blocks
from leaderboard.statistics.verdict import Verdict

INFO = {("accuracy", "top1"): MetricInfo("Top-1", "%", "higher", 1, True)}


def board(nets: Mapping[str, Sequence[float]], dataset: str = "d") -> Results:
    """Top-1 of networks `backbone variant`, seed by seed."""
    rows = tuple(
        Row(dataset, *name.split(), seed, "accuracy", "top1", value, "%")
        for name, values in nets.items()
        for seed, value in enumerate(values)
    )
    return Results("t", rows, INFO)


def test_of_two_networks_it_is_students_paired_t() -> None:
    one, other = (80.0, 81.0, 80.5, 82.0), (79.0, 80.5, 79.0, 80.0)
    (best,) = best_networks(board({"b bu": other, "a bu": one}))
    (lead,) = best.leads
    wanted = stats.ttest_rel(one, other)
    ends = wanted.confidence_interval(0.95)
    assert (best.net, lead.other) == (("a", "bu"), ("b", "bu"))
    assert (lead.compared.low, lead.compared.high) == pytest.approx((ends.low, ends.high))
    assert lead.compared.corrected == pytest.approx(wanted.pvalue)  # of two, there is one pair
    assert lead.verdict is Verdict.BETTER


def test_p_is_corrected_for_all_pairs() -> None:
    nets = {"a bu": (80.0, 81.0, 80.5), "a td": (79.0, 80.5, 80.2), "b bu": (70.0, 70.5, 71.2)}
    (best,) = best_networks(board(nets))
    near, far = best.leads
    assert (near.verdict, far.verdict) == (Verdict.INCONCLUSIVE, Verdict.BETTER)
    assert [lead.compared.corrected for lead in best.leads] == pytest.approx(
        [min(1.0, 3 * lead.compared.p_value) for lead in best.leads]
    )


def test_the_luckiest_of_equals_is_rarely_called_better() -> None:
    """Six networks that are the same: in one board of twenty the best is said to be it."""
    rng = np.random.default_rng(2)
    false = 0
    for _ in range(400):
        order = rng.normal(0, 0.3, 3)  # what a seed does to all of them
        (best,) = best_networks(
            board({f"{n} bu": 80 + order + rng.normal(size=3) for n in "abcdef"})
        )
        false += any(lead.verdict is Verdict.BETTER for lead in best.leads)
    assert false <= 400 * 0.05 + 2 * np.sqrt(400 * 0.05 * 0.95)


def test_the_same_accuracies_are_not_equal_networks() -> None:
    (best,) = best_networks(board({"a bu": (80.0, 81.0), "b bu": (80.0, 81.0)}))
    assert [lead.verdict for lead in best.leads] == [Verdict.INCONCLUSIVE]


def test_two_backbones_and_two_seeds_in_common_are_needed() -> None:
    both = {"a bu": (80.0, 81.0), "b bu": (70.0, 71.0)}
    assert best_networks(board({"a bu": (80.0, 81.0), "a td": (70.0, 71.0)})) == []
    assert best_networks(board({"a bu": (80.0, 81.0), "b bu": (70.0,)})) == []
    (best,) = best_networks(board(both | {"c bu": (99.0,), "c td": (60.0, 61.0, 61.0)}))
    assert best.net == ("a", "bu")
    assert [(lead.other, lead.compared.count) for lead in best.leads] == [
        (("b", "bu"), 2),
        (("c", "td"), 2),
    ]
    apart = board(both)
    moved = tuple(replace(r, seed=r.seed + 1) if r.backbone == "b" else r for r in apart.rows)
    assert best_networks(replace(apart, rows=moved)) == []
    assert best_networks(replace(apart, metrics={})) == []


def test_each_data_set_has_a_table_after_the_variants(tmp_path: Path) -> None:
    data = results(seeds=(0, 1, 2), backbones=("a", "b"), datasets=("one", "two"))
    heading, *found, _ = best_blocks(data)
    assert heading == Heading(2, "The most accurate network")
    tables = [block for block in found if isinstance(block, Grid)]
    assert [block for block in found if isinstance(block, Heading)] == [
        Heading(3, "b bu on one"),
        Heading(3, "b bu on two"),
    ]
    for best, table in zip(best_networks(data), tables, strict=True):
        assert [line[-1].text for line in table.lines] == [lead.verdict for lead in best.leads]
        assert [line[2].text for line in table.lines] == [
            f"{lead.compared.difference:+.2f} points" for lead in best.leads
        ]
    page = leaderboard.render_markdown(data, tmp_path).read_text("utf-8")
    places = [page.index(f"## {title}") for title in ("Against bu", "The most accurate", "one")]
    assert places == sorted(places)
    alone = results(seeds=(0, 1, 2), backbones=("a",))
    assert not list(best_blocks(alone))
