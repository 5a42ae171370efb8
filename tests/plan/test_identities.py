"""Identities: they move with whatever changes a result, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.plan.cell import Plan
from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.suite.recipe import Augment, Recipe

Planned = Callable[[str], Plan]

SUITE = """\
name: identity
seeds: [0, 1]
datasets: [fashion-mnist-mini]
backbones: [lenet_fc]
variants: [bu, td]
recipe: {epochs: 6, batch_size: 128, lr: 0.1}
measures:
  - accuracy
  - robustness: {attacks: [additive_gaussian, gaussian_blur], samples: 200, repeats: 3}
  - efficiency
"""
PAIR = "fashion-mnist-mini/lenet_fc"

# Results are found again by these. If this test fails, a change has moved them and every run
# directory in the world starts anew: either mend the change, or, if results really differ now,
# raise the version that says so (bench.identity.VERSION for the scheme, TRAINING_VERSION in
# bench.plan.expand for training, `version` of a measure or an attack), and pin the new ones.
GOLDEN = {
    "fashion-mnist-mini/lenet_fc/bu/seed0/train": "96e6841368cb239762a1",
    "fashion-mnist-mini/lenet_fc/bu/seed0/accuracy": "eb8f181d258501978f92",
    "fashion-mnist-mini/lenet_fc/bu/seed0/robustness/additive_gaussian": "4c92f60ed132347664c0",
    "fashion-mnist-mini/lenet_fc/bu/seed0/robustness/gaussian_blur": "41a25ffc43f0d87af59c",
    "fashion-mnist-mini/lenet_fc/td/seed0/efficiency": "ad76e594f8689dac5d8a",
}


def identities(plan: Plan) -> dict[str, str]:
    return {cell.name: cell.identity for cell in plan.cells}


def moved(planned: Planned, old: str, new: str, count: int = 1) -> set[str]:
    """The cells (by their common name) whose identity differs after a replacement."""
    assert old in SUITE
    before, after = identities(planned(SUITE)), identities(planned(SUITE.replace(old, new, count)))
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def all_of(*tails: str) -> set[str]:
    return {
        f"{PAIR}/{v}/seed{s}/{t}"
        for v in ("bu", "td")
        for s in (0, 1)
        for t in tails
        if (s, t) != (1, "efficiency")  # measured once, with the smallest seed
    }


NOISE, BLUR = "robustness/additive_gaussian", "robustness/gaussian_blur"
EVERYTHING = all_of("train", "accuracy", NOISE, BLUR, "efficiency")


def test_golden_identities(planned: Planned) -> None:
    found = identities(planned(SUITE))
    assert {name: found[name] for name in GOLDEN} == GOLDEN


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: identity", "name: other"),
        ("name: identity", "name: identity\ndescription: some words"),
        ("[0, 1]", "[1, 0]"),
        ("[bu, td]", "[td, bu]"),
        ("[additive_gaussian, gaussian_blur]", "[gaussian_blur, additive_gaussian]"),
        ("repeats: 3}", "repeats: 3, batch_size: 7}"),
        ("{epochs: 6, batch_size: 128, lr: 0.1}", "{lr: 1.0e-1, batch_size: 128, epochs: 6}"),
        ("lr: 0.1}", "lr: 0.1, momentum: 0.9, augment: {flip: 0}}"),  # the defaults
        ("gaussian_blur]", "{name: gaussian_blur, epsilons: 1000}]"),
        ("measures:", "overrides: [{match: '*', recipe: {lr: 0.1}}]\nmeasures:"),
        ("measures:", "overrides: [{match: '*/bu', recipe: {}}]\nmeasures:"),
    ],
)
def test_what_changes_no_result_moves_nothing(old: str, new: str, planned: Planned) -> None:
    assert moved(planned, old, new) == set()


def test_labels_move_nothing(planned: Planned) -> None:
    text = SUITE.replace("[fashion-mnist-mini]", "[{name: fashion-mnist-mini, label: f}]")
    text = text.replace("[lenet_fc]", "[{name: lenet_fc, label: n}]")
    text = text.replace("gaussian_blur]", "{name: gaussian_blur, label: b}]")
    before, after = planned(SUITE).cells, planned(text).cells
    assert [cell.identity for cell in before] == [cell.identity for cell in after]
    assert after[-1].name == "f/n/td/seed1/robustness/b"


def test_neighbours_move_nothing(planned: Planned) -> None:
    """What else is in the suite, and from where it is run."""
    more = SUITE.replace("[0, 1]", "[5, 0, 1]").replace("[lenet_fc]", "[nin, lenet_fc]")
    more = more.replace("[fashion", "[mnist, fashion").replace("  - accuracy\n", "")
    before, after = identities(planned(SUITE)), identities(planned(more))
    assert len(set(before) & set(after)) == 14
    assert all(before[name] == after[name] for name in set(before) & set(after))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("fashion-mnist-mini]", "{name: fashion-mnist-mini, image_size: 14}]", EVERYTHING),
        ("[fashion-mnist-mini]", "[{name: mnist, label: fashion-mnist-mini}]", EVERYTHING),
        ("[lenet_fc]", "[{name: lenet_fc, merge: add}]", EVERYTHING),
        ("[lenet_fc]", "[{name: nin_light, label: lenet_fc}]", EVERYTHING),
        ("samples: 200", "samples: 201", all_of(NOISE, BLUR)),
        ("samples: 200", "samples: 200, subset_seed: 1", all_of(NOISE, BLUR)),
        ("repeats: 3", "repeats: 4", all_of(NOISE)),  # blur is deterministic
        ("gaussian_blur]", "{name: gaussian_blur, epsilons: 9}]", all_of(BLUR)),
        ("- efficiency", "- efficiency: {batch_size: 64}", all_of("efficiency")),
    ],
)
def test_what_changes_results_moves_those(
    old: str, new: str, expected: set[str], planned: Planned
) -> None:
    assert moved(planned, old, new) == expected


def test_seed_and_variant_move_everything(planned: Planned) -> None:
    cells = planned(SUITE).cells
    assert len({cell.identity for cell in cells}) == len(cells)
    assert len({cell.training.identity for cell in cells}) == 4


def around(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False).map(lambda x: round(x, 6))


AUGMENT: dict[str, st.SearchStrategy[Any]] = {
    "shift": around(0, 0.9),
    "flip": around(0, 1),
    "crop": st.none() | st.integers(1, 64),
    "crop_padding": st.integers(0, 8),
    "pca_jitter": around(0, 1),
}
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "epochs": st.integers(1, 500),
    "batch_size": st.integers(2, 5000),
    "lr": around(0.001, 10),
    "schedule": st.sampled_from(["three-stage", "one-cycle", "constant"]),
    "momentum": around(0.01, 0.99),
    "nesterov": st.booleans(),
    "weight_decay": around(0, 1),
    "label_smoothing": around(0, 0.9),
    "validation": around(0, 0.9),
    "mean": st.sampled_from(["none", "per_pixel", "per_channel"]),
    "test_mean": st.sampled_from(["train", "own"]),
    "std": st.sampled_from(["none", "per_channel"]),
    "bn_momentum": st.none() | around(0.01, 1),
    "precision": st.sampled_from(["auto", "fp32", "bf16", "fp16"]),
    "channels_last": st.just("auto") | st.booleans(),
    "mode": st.sampled_from([None, "deterministic", "fast"]),
    "augment": st.fixed_dictionaries({}, optional=AUGMENT).filter(
        lambda augment: augment.get("crop") or not augment.get("crop_padding")
    ),
}


def plan_with(folder: Path, recipe: dict[str, Any]) -> Plan:
    tree = yaml.safe_load(SUITE)
    tree["recipe"].update(recipe)
    file = folder / "suite.yaml"
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return expand(read_suite(str(file)))


def test_every_key_of_the_recipe_is_tried() -> None:
    assert set(CHANGES) == set(Recipe.model_fields)
    assert set(AUGMENT) == set(Augment.model_fields)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_value_of_the_recipe_moves_a_training_and_all_that_needs_it(
    tmp_path: Path, data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(CHANGES)))
    one, two = data.draw(CHANGES[key]), data.draw(CHANGES[key])
    first, second = plan_with(tmp_path, {key: one}), plan_with(tmp_path, {key: two})
    same = first.cells[0].training.recipe == second.cells[0].training.recipe
    for before, after in zip(first.cells, second.cells, strict=True):
        assert before.name == after.name
        assert (before.identity == after.identity) == same


def test_networks_that_are_inverted_follow_the_version_of_the_inversion(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paper's networks are declared in all variants; a bottom-up one is the model itself."""
    suite = SUITE.replace("[lenet_fc]", "[lenet_fc, timm/resnet18]")
    before = identities(planned(suite))
    monkeypatch.setattr("bench.plan.expand.INVERSION_VERSION", 99)
    after = identities(planned(suite))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if "/timm/resnet18/td/" in name}
    assert changed
