"""The section on the search for recipes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_results import results

import leaderboard
from leaderboard import Results
from leaderboard.blocks import Bullets, Grid, Heading, Text
from leaderboard.results import Searched, Trial
from leaderboard.sections.tuning import tuning_blocks

TRIALS = (
    Trial("lr=0.2", 71.25, edges=("lr (highest)",)),
    Trial("lr=0.1", 80.0),
    Trial("lr=0.05", 79.5, edges=("lr (lowest)",)),
)


def searched(variant: str, chosen: int | None = 1, **more: object) -> Searched:
    found = Searched(
        "fashion-mnist-mini", "lenet_fc", variant, TRIALS, chosen, "grid",
        (("lr", "0.2, 0.1, 0.05"),), 0, 2, 2, 0.1,
    )  # fmt: skip
    return replace(found, **more)  # type: ignore[arg-type]


def with_searches(*searches: Searched) -> Results:
    return replace(results(), searches=searches)


def texts(found: Results) -> str:
    return " ".join(block.text for block in tuning_blocks(found) if isinstance(block, Text))


def lines(found: Results) -> list[list[str]]:
    (grid,) = [block for block in tuning_blocks(found) if isinstance(block, Grid)]
    assert all(
        len(line) == len(grid.names) + len(grid.numbers) + len(grid.remarks) for line in grid.lines
    )
    return [[cell.text for cell in line] for line in grid.lines]


def test_nothing_where_nothing_was_searched() -> None:
    assert not list(tuning_blocks(results()))


def test_a_line_for_each_network() -> None:
    found = with_searches(searched("bu"), searched("td", chosen=0))
    assert lines(found) == [
        ["fashion-mnist-mini", "lenet_fc", "bu", "80.0", "79.5", "71.2", "3", "0", "lr=0.1", "–"],
        ["fashion-mnist-mini", "lenet_fc", "td", "71.2", "79.5", "71.2", "3", "0", "lr=0.2",
         "lr (highest)"],
    ]  # fmt: skip
    assert isinstance(next(tuning_blocks(found)), Heading)


def test_budget_and_judge_are_told() -> None:
    said = texts(with_searches(searched("bu"), searched("td")))
    assert "Every combination of lr: 0.2, 0.1, 0.05. That is 3 trials for each" in said
    assert "6 in all: each has the same candidates and the same budget." in said
    assert "for 2 epochs without the held-out 10 % of the training images (the split of" in said
    assert "Test images take no part in it." in said
    assert "which then train" not in said
    assert "At the edge" not in said
    assert "Not tuned" not in said


def test_shorter_trials_and_random_draws_are_told() -> None:
    one = searched("bu", search="random", seed=7, epochs=1, own_epochs=30)
    said = texts(with_searches(one))
    assert "Random draws (seed 7) of lr" in said
    assert "A trial trains for 1 epoch without" in said
    assert "for all seeds of a network, which then train for 30 epochs." in said


def test_an_edge_is_flagged_and_explained() -> None:
    found = with_searches(searched("bu", chosen=2))
    assert lines(found)[0][-1] == "lr (lowest)"
    assert "a wider search may find better" in texts(found)
    drawn = with_searches(searched("bu", chosen=2, search="random"))
    assert "a wider search or more draws may find better" in texts(drawn)


def test_what_is_not_tuned_is_named() -> None:
    nets = (("fashion-mnist-mini", "lenet_fc", "bu"), ("fashion-mnist-mini", "lenet_fc", "td"))
    said = texts(replace(with_searches(searched("td")), nets=nets))
    assert "Not tuned: fashion-mnist-mini/lenet_fc/bu." in said


def test_failed_trials_are_counted_and_named() -> None:
    trials = (replace(TRIALS[0], accuracy=None, error="diverged:\nat once"), *TRIALS[1:])
    found = with_searches(searched("bu", trials=trials))
    assert lines(found)[0][3:9] == ["80.0", "79.8", "79.5", "3", "1", "lr=0.1"]
    assert "Failed trials (1), which count as the worst, though median and worst" in texts(found)
    (bullets,) = [block for block in tuning_blocks(found) if isinstance(block, Bullets)]
    assert bullets.entries == (("fashion-mnist-mini/lenet_fc/bu lr=0.2", "diverged: at once"),)
    all_failed = tuple(replace(trial, accuracy=None, error="no") for trial in TRIALS)
    assert lines(with_searches(searched("bu", None, trials=all_failed)))[0][3:9] == [
        "failed", "–", "–", "3", "3", "failed",
    ]  # fmt: skip


def test_a_search_that_is_not_over_has_no_choice() -> None:
    trials = (*TRIALS[:2], replace(TRIALS[2], accuracy=None))
    line = lines(with_searches(searched("bu", None, trials=trials)))[0]
    assert line[3:] == ["–", "–", "–", "2 of 3", "0", "–", "–"]


@pytest.mark.parametrize("kind", ["markdown", "html"])
def test_both_pages_have_it_and_the_same_results_give_the_same_bytes(
    kind: str, tmp_path: Path
) -> None:
    found = with_searches(searched("bu"), searched("td", chosen=0))

    def page(folder: str) -> bytes:
        if kind == "html":
            return leaderboard.render_html(found, tmp_path / folder).read_bytes()
        return leaderboard.render_markdown(found, tmp_path / folder).read_bytes()

    text = page("one").decode()
    assert ("## Tuning" if kind == "markdown" else ">Tuning</h2>") in text
    assert "lr=0.1" in text
    assert "⚠" in text or kind == "html"
    assert page("two").decode() == text


def test_json_has_every_trial(tmp_path: Path) -> None:
    path = leaderboard.render_json(with_searches(searched("bu")), tmp_path / "r.json")
    (one,) = json.loads(path.read_text(encoding="utf-8"))["searches"]
    assert one["chosen"] == 1
    assert [trial["accuracy"] for trial in one["trials"]] == [71.25, 80.0, 79.5]
