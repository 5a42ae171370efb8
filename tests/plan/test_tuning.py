"""A suite with `tune:` multiplied out: trials, what waits for them, identities, budget, cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_identities import SUITE, identities

from bench.cli import main
from bench.plan.cell import Cell, Plan
from bench.plan.expand import select

Planned = Callable[[str], Plan]

PAIR = "fashion-mnist-mini/lenet_fc"
GRID = SUITE + "tune:\n  epochs: 2\n  values: {lr: [0.2, 0.1], batch_size: [64, 128]}\n"
RANDOM = (
    SUITE + "tune:\n  search: random\n  trials: 4\n  seed: 6\n"
    "  values: {lr: {log_uniform: [0.001, 1]}, batch_size: {uniform: [32, 128]}, "
    "schedule: [constant, one-cycle]}\n"
)
# Draws must be the same in every version of Python, for results are found again by them.
DRAWN = [
    "lr=0.24,batch_size=111,schedule=constant",
    "lr=0.00609,batch_size=32,schedule=one-cycle",
    "lr=0.0257,batch_size=105,schedule=constant",
    "lr=0.204,batch_size=58,schedule=one-cycle",
]


def trials(plan: Plan) -> list[Cell]:
    return [cell for cell in plan.cells if cell.training.trial]


def final(plan: Plan, variant: str = "td", seed: int = 0) -> Cell:
    (found,) = [c for c in plan.cells if c.name == f"{PAIR}/{variant}/seed{seed}/train"]
    return found


def test_the_trials_of_a_network_stand_before_its_trainings(planned: Planned) -> None:
    names = [cell.name for cell in planned(GRID).cells if cell.measure is None]
    assert names == [
        f"{PAIR}/{variant}/{tail}"
        for variant in ("bu", "td")
        for tail in (
            "tune/lr=0.2,batch_size=64",
            "tune/lr=0.2,batch_size=128",
            "tune/lr=0.1,batch_size=64",
            "tune/lr=0.1,batch_size=128",
            "seed0/train",
            "seed1/train",
        )
    ]


def test_what_a_trial_is(planned: Planned) -> None:
    first = trials(planned(GRID))[0]
    assert (first.title, first.measure) == ("tune/lr=0.2,batch_size=64", None)
    assert first.training.label == first.name
    recipe = first.training.recipe
    assert (recipe.lr, recipe.batch_size, recipe.epochs, recipe.validation) == (0.2, 64, 2, 0.1)


def test_a_training_knows_its_trials_and_what_it_may_come_to(planned: Planned) -> None:
    plan = planned(GRID)
    tuning = final(plan).training.tuning
    assert tuning is not None
    assert list(tuning.trials) == [c.identity for c in trials(plan) if "/td/" in c.name]
    found = [(r.lr, r.batch_size, r.epochs) for r in final(plan).training.recipes]
    assert found == [(0.2, 64, 6), (0.2, 128, 6), (0.1, 64, 6), (0.1, 128, 6)]


def test_draws_are_the_same_for_every_variant_and_for_ever(planned: Planned) -> None:
    found = [cell.title.removeprefix("tune/") for cell in trials(planned(RANDOM))]
    assert found[:4] == found[4:] == DRAWN


def test_draws_are_within_their_ranges_and_all_different(planned: Planned) -> None:
    plan = planned(RANDOM.replace("trials: 4", "trials: 200"))
    recipes = [cell.training.recipe for cell in trials(plan)][:200]
    assert len({(r.lr, r.batch_size, r.schedule) for r in recipes}) == 200
    assert all(0.001 <= r.lr <= 1 and 32 <= r.batch_size <= 128 for r in recipes)
    # Half of the draws of three decades are below the middle one's middle.
    assert 70 < sum(r.lr < 0.0316 for r in recipes) < 130
    assert {r.batch_size for r in recipes} > {32, 128} or len({r.batch_size for r in recipes}) > 60


def moved(planned: Planned, old: str, new: str, text: str = GRID) -> bool:
    """Whether the identity of a tuned training differs after a replacement."""
    assert old in text
    before, after = (final(planned(t)).identity for t in (text, text.replace(old, new, 1)))
    return before != after


@pytest.mark.parametrize(
    ("old", "new", "moves"),
    [
        ("epochs: 2", "epochs: 3", True),
        ("epochs: 6", "epochs: 5", True),
        ("values:", "seed: 1\n  values:", True),
        ("[0.2, 0.1]", "[0.2, 0.3]", True),
        ("[0.2, 0.1]", "[0.1, 0.2]", True),  # of equal ones the first is chosen
        ("[0.2, 0.1]", "[0.2, 0.1, 0.3]", True),
        ("lr: 0.1}", "lr: 0.3}", False),  # the recipe's own is never used
        ("values:", "match: '*/lenet_fc/*'\n  values:", False),
        ("values:", "search: grid\n  values:", False),
    ],
)
def test_identities_move_with_what_decides(
    old: str, new: str, moves: bool, planned: Planned
) -> None:
    assert moved(planned, old, new) == moves


def test_identities_of_what_is_not_tuned_stay(planned: Planned) -> None:
    plain, some = planned(SUITE), planned(GRID + "  match: '*/td'\n")
    before, after = identities(plain), identities(some)
    assert {n: after[n] for n in before if "/bu/" in n} == {
        n: before[n] for n in before if "/bu/" in n
    }
    assert all(after[name] != before[name] for name in before if "/td/" in name)
    assert all("/td/" in cell.name for cell in trials(some))


def test_two_labels_of_the_same_network_share_their_trials(planned: Planned) -> None:
    plan = planned(GRID.replace("[lenet_fc]", "[lenet_fc, {name: lenet_fc, label: again}]"))
    assert len(trials(plan)) == 8
    assert len({one["backbone"] for one in plan.searches}) == 2
    chosen = select(plan, f"{PAIR.split('/')[0]}/again/td/seed0/accuracy")
    assert sum(cell.training.trial for cell in chosen) == 4


def test_only_brings_in_the_trials_that_are_needed(planned: Planned) -> None:
    plan = planned(GRID)
    names = [cell.name for cell in select(plan, "*/td/seed0/accuracy")]
    assert names == [
        *(cell.name for cell in trials(plan) if "/td/" in cell.name),
        f"{PAIR}/td/seed0/train",
        f"{PAIR}/td/seed0/accuracy",
    ]
    assert [c.name for c in select(plan, "*/tune/lr=0.1,*")] == [
        cell.name for cell in trials(plan) if "/lr=0.1," in cell.name
    ]


def test_edges_of_what_is_searched(planned: Planned) -> None:
    text = GRID.replace("batch_size: [64, 128]", "weight_decay: [0, 0.1], mean: [none, per_pixel]")
    (found, _) = planned(text).searches
    edges = dict(zip(found["values"], found["edges"], strict=True))
    assert edges["lr=0.2, weight_decay=0, mean=none"] == ["lr (highest)"]
    # Below no weight decay there is nothing.
    assert edges["lr=0.1, weight_decay=0.1, mean=none"] == ["lr (lowest)", "weight_decay (highest)"]
    ranged = planned(RANDOM).searches[0]
    assert dict(zip(ranged["values"], ranged["edges"], strict=True)) == {
        DRAWN[0].replace(",", ", "): ["lr (highest)", "batch_size (highest)"],
        DRAWN[1].replace(",", ", "): ["lr (lowest)", "batch_size (lowest)"],
        DRAWN[2].replace(",", ", "): [],
        DRAWN[3].replace(",", ", "): [],
    }


def test_a_single_draw_is_no_edge_but_for_the_ends_of_its_range(planned: Planned) -> None:
    text = RANDOM.replace("trials: 4", "trials: 1").replace("[0.001, 1]", "[0.2, 0.3]")
    assert planned(text).searches[0]["edges"] == [[]]


def test_a_range_from_0_ends_at_0_but_draws_end_where_the_lowest_is(planned: Planned) -> None:
    decay = RANDOM.replace("batch_size: {uniform: [32, 128]}", "weight_decay: {uniform: [0, 0.1]}")

    def edges(text: str) -> dict[str, str]:
        found = planned(text).searches[0]
        drawn = [values.split(", ")[1].partition("=")[2] for values in found["values"]]
        ends = [[end for end in one if "decay" in end] for one in found["edges"]]
        return {value: " ".join(end) for value, end in zip(drawn, ends, strict=True) if end}

    # Nothing lies beyond 0, and little between it and a draw in the lowest tenth.
    assert edges(decay) == {"0.0822": "weight_decay (highest)"}
    # More draws would lie between 0 and the lowest of these.
    lowest = {"0.0847": "weight_decay (highest)", "0.0495": "weight_decay (lowest)"}
    assert edges(decay.replace("seed: 6", "seed: 1")) == lowest
    # Both in the lowest tenth: what is tried ends at the higher one.
    low = decay.replace("seed: 6", "seed: 86").replace("trials: 4", "trials: 2")
    assert edges(low) == {"0.0031": "weight_decay (highest)"}


def plan_lines(folder: Path, text: str, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    file = folder / "suite.yaml"
    file.write_text(text, encoding="utf-8")
    assert main(["plan", str(file), "--out", str(folder / "run"), *words]) == 0
    return capsys.readouterr().out


def test_the_plan_tells_the_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = plan_lines(tmp_path, GRID, capsys, "--no-cost")
    assert (
        "tuning: 4 trials for each of 2 dataset/backbone/variant combinations, 8 trainings; every "
        "variant gets the same budget and the same candidates\n"
    ) in out
    assert f"to do   {PAIR}/bu/tune/lr=0.2,batch_size=64\n" in out
    some = plan_lines(tmp_path, GRID + "  match: '*/td'\n", capsys, "--no-cost")
    assert (
        "tuning: 4 trials for 1 dataset/backbone/variant combination, 4 trainings; not every "
        f"network is tuned: {PAIR}/bu keeps the suite's recipe\n"
    ) in some
    assert "tuning" not in plan_lines(tmp_path, SUITE, capsys, "--no-cost")


def test_the_estimate_tells_the_part_of_the_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = plan_lines(tmp_path, GRID, capsys, "--only", "*/bu/seed0/train")
    line = next(line for line in out.splitlines() if line.startswith("estimate"))
    assert ", of it about " in line
    assert line.endswith(" for tuning")
