"""Which cells a suite comes to, their order, their names, and how quickly."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.plan.cell import Plan
from bench.plan.check import read_suite
from bench.plan.expand import expand, select

Planned = Callable[[str], Plan]

SUITE = """\
name: product
seeds: [3, 1]
datasets: [fashion-mnist-mini, {name: mnist, image_size: 32, label: large}]
backbones: [lenet_fc, {name: nin_light, datasets: [large]}]
variants: [td, bu]
measures:
  - efficiency
  - robustness: {attacks: [gaussian_blur, {name: gaussian_blur, label: coarse, epsilons: 9}]}
  - accuracy
"""
TAILS = ["train", "efficiency", "robustness/gaussian_blur", "robustness/coarse", "accuracy"]
PAIRS = ["fashion-mnist-mini/lenet_fc", "large/lenet_fc", "large/nin_light"]


def names(plan: Plan) -> list[str]:
    return [cell.name for cell in plan.cells]


@pytest.mark.parametrize(
    ("datasets", "samples", "said"),
    [
        ("[fashion-mnist-mini]", 0, "all test images"),
        ("[fashion-mnist-mini]", 5000, "all test images"),
        ("[fashion-mnist-mini]", 500, "500 class-balanced test images"),
        ("[fashion-mnist-mini, mnist]", 1000, "1,000 class-balanced test images"),
        (
            "[fashion-mnist-mini, mnist]",
            5000,
            "5,000 class-balanced test images, or all where there are fewer",
        ),
        ("[{name: mnist, test_samples: 50}]", 60, "all test images"),
    ],
)
def test_notes_say_how_many_test_images_there_really_are(
    planned: Planned, datasets: str, samples: int, said: str
) -> None:
    plan = planned(f"""
name: notes
seeds: [0]
datasets: {datasets}
backbones: [lenet_fc]
measures:
  - robustness: {{attacks: [gaussian_blur], samples: {samples}}}
  - corruptions: {{samples: {samples}}}
  - localization: {{samples: {samples}, foreground: 0.2}}
  - faithfulness: {{samples: {samples}}}
""")
    ends = (
        f"on {said}; every",
        f" {said} (seed",
        f"of {said}; of these",
        f"of {said}; pix",
    )
    for note, end in zip(plan.notes, ends, strict=True):
        assert end in note


def test_the_product_in_the_order_of_the_suite(planned: Planned) -> None:
    assert names(planned(SUITE)) == [
        f"{pair}/{variant}/seed{seed}/{tail}"
        for pair in PAIRS
        for variant in ("td", "bu")
        for seed in (3, 1)
        for tail in TAILS
        # A matter of the architecture, not of the weights: once, with the smallest seed.
        if (seed, tail) != (3, "efficiency")
    ]


def test_names_and_identities_are_unique(planned: Planned) -> None:
    plan = planned(SUITE)
    assert len(set(names(plan))) == len({cell.identity for cell in plan.cells}) == 54
    assert all(len(cell.identity) == 20 for cell in plan.cells)


def test_what_a_cell_knows(planned: Planned) -> None:
    cells = {cell.name: cell for cell in planned(SUITE).cells}
    train = cells["large/nin_light/bu/seed1/train"]
    assert (train.measure, train.title, train.exclusive) == (None, "train", False)
    assert train.identity == train.training.identity
    assert train.training.label == "large/nin_light/bu/seed1"
    assert (train.training.seed, train.training.dataset.name) == (1, "mnist")
    blur = cells["large/nin_light/bu/seed1/robustness/coarse"]
    assert (blur.measure, blur.item, blur.title) == ("robustness", "coarse", "robustness/coarse")
    assert blur.training.identity == train.identity
    assert blur.options.attack.options == {"epsilons": 9}
    assert cells["large/nin_light/bu/seed1/efficiency"].exclusive


def test_an_identical_training_is_done_once(planned: Planned) -> None:
    text = SUITE.replace(
        "backbones: [lenet_fc, ", "backbones: [lenet_fc, {name: lenet_fc, label: again}, "
    )
    plan = planned(text)
    trainings = [cell for cell in plan.cells if cell.measure is None]
    assert len(trainings) == 12
    assert not any("/again/" in cell.name for cell in trainings)
    again = [cell for cell in plan.cells if "/again/" in cell.name]
    assert len(again) == 2 * 2 * (4 + 3)
    assert {cell.training.identity for cell in again} <= {cell.identity for cell in trainings}


def test_different_recipes_are_different_trainings(planned: Planned) -> None:
    text = SUITE + "overrides: [{match: 'large/*/td', recipe: {epochs: 9}}]\n"
    before = {cell.name: cell.identity for cell in planned(SUITE).cells}
    after = {cell.name: cell.identity for cell in planned(text).cells}
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {n for n in before if n.startswith("large/") and n.split("/")[2] == "td"}


def test_every_training_stands_before_what_measures_it(planned: Planned) -> None:
    trained: set[str] = set()
    for cell in planned(SUITE).cells:
        if cell.measure is None:
            trained.add(cell.identity)
        assert cell.training.identity in trained


def test_only_brings_in_the_trainings_it_needs(planned: Planned) -> None:
    plan = planned(SUITE)
    chosen = [cell.name for cell in select(plan, "large/*/bu/seed1/acc*")]
    assert chosen == [
        f"large/{net}/bu/seed1/{tail}"
        for net in ("lenet_fc", "nin_light")
        for tail in ("train", "accuracy")
    ]
    assert [c.title for c in select(plan, "*/train")] == ["train"] * 12
    assert select(plan, "*") == select(plan) == plan.cells


def test_only_takes_several_patterns_each_of_which_fits_something(planned: Planned) -> None:
    plan = planned(SUITE)
    patterns = ("large/lenet_fc/bu/seed1/acc*", "*/lenet_fc/bu/*/train")
    each = [{cell.name for cell in select(plan, pattern)} for pattern in patterns]
    both = [cell.name for cell in select(plan, *patterns)]
    assert set(both) == each[0] | each[1]
    assert len(both) > max(map(len, each))
    assert both == [cell.name for cell in plan.cells if cell.name in set(both)]
    with pytest.raises(BenchError, match=r"--only '\*/LENET_FC/\*' fits no cell of suite"):
        select(plan, "*/train", "*/LENET_FC/*")


def test_only_brings_in_a_training_planned_under_another_label(planned: Planned) -> None:
    text = SUITE.replace("[lenet_fc, ", "[lenet_fc, {name: lenet_fc, label: again}, ")
    chosen = select(planned(text), "large/again/bu/seed1/accuracy")
    assert [cell.name for cell in chosen] == [
        "large/lenet_fc/bu/seed1/train",
        "large/again/bu/seed1/accuracy",
    ]


BIG = f"""\
name: big
seeds: {list(range(250))}
datasets: [fashion-mnist-mini, mnist]
backbones: [lenet_fc, nin_light]
variants: [bu, td]
recipe: {{epochs: 8, augment: {{shift: 0.1}}}}
overrides:
  - {{match: '*/td', recipe: {{lr: 0.2}}}}
  - {{match: 'mnist/*', recipe: {{augment: {{shift: 0.0}}}}}}
measures:
  - accuracy
  - robustness: {{attacks: [additive_gaussian, gaussian_blur, shifts]}}
  - efficiency
"""
ALLOWED = 0.3


def test_ten_thousand_cells_are_planned_in_no_time(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    file.write_text(BIG, encoding="utf-8")
    read_suite("quickstart")  # the imports
    spent = []
    for _ in range(3):
        start = time.process_time()
        plan = expand(read_suite(str(file)))
        spent.append(time.process_time() - start)
        assert len(plan.cells) == 8 * (250 * 5 + 1)
    assert min(spent) <= ALLOWED, f"{min(spent):.3f} s of CPU time; at most {ALLOWED} s allowed"


def test_a_measure_may_be_for_some_networks_only(planned: Planned) -> None:
    text = SUITE.replace("  - accuracy\n", "  - accuracy: {only: ['*/lenet_fc/*', large/*/td]}\n")
    measured = {c.training.pair for c in planned(text).cells if c.measure == "accuracy"}
    every = {c.training.pair for c in planned(SUITE).cells}
    assert measured == {p for p in every if "/lenet_fc/" in p or p == "large/nin_light/td"}
    before = {c.name: c.identity for c in planned(SUITE).cells}
    assert all(before[c.name] == c.identity for c in planned(text).cells)


def test_a_backbone_may_have_some_seeds_only(planned: Planned) -> None:
    text = SUITE.replace("[lenet_fc, ", "[{name: lenet_fc, seeds: [3]}, ")
    found = planned(text).cells
    assert {c.training.seed for c in found if "/lenet_fc/" in c.name} == {3}
    assert any(c.measure == "efficiency" for c in found if "/lenet_fc/" in c.name)
    assert {c.training.seed for c in found if "/nin_light/" in c.name} == {1, 3}
