"""`tune:` in a suite: what is wrong with it, all at once, and where."""

from __future__ import annotations

from pathlib import Path

import pytest
from malformed import GOOD, Case, Said, check

from bench.plan.check import read_suite

LONG = list(range(2, 42))
VALUES = "  values: {lr: [0.2, 0.1]}\n"


def tune(name: str, lines: str, *said: Said, more: str = "") -> Case:
    """A case whose search (from line 11 on) is `lines`; overrides and the like come after it."""
    tail = "  - efficiency\n"
    return Case(name, tail, f"{tail}tune:\n{lines}{more}", said)


def value(name: str, lines: str, *said: Said) -> Case:
    """A case with these `values` (from line 13 on) of a random search."""
    search = "  {search: random, trials: 2, values: {\n"
    return tune(name, f"{search}{lines}\n  }}}}\n", *said)


CASES = [
    tune("no mapping", "  - lr\n", (11, "tune", "must be a mapping, not a list")),
    tune("no values", "  search: grid\n", (11, "tune.values", "is missing")),
    tune("empty values", "  values: {}\n", (12, "tune.values", "is empty; name at least")),
    tune("values a list", "  values: [lr]\n", (12, "tune.values", "must be a mapping, not a list")),
    tune("key", VALUES + "  epoch: 1\n",
         (13, "tune.epoch", "unknown key 'epoch'; did you mean 'epochs'?")),
    tune("search", VALUES + "  search: gird\n",
         (13, "tune.search", "'gird' is not one of grid, random; did you mean 'grid'?")),
    tune("seed", VALUES + "  seed: -1\n", (13, "tune.seed", "must be at least 0, not -1")),
    tune("epochs", VALUES + "  epochs: 0\n", (13, "tune.epochs", "must be at least 1, not 0")),
    tune("trials of a grid", VALUES + "  trials: 4\n",
         (13, "tune.trials", "is for `search: random`; a grid tries every combination")),
    tune("no trials", VALUES + "  search: random\n",
         (11, "tune", "a random search needs `trials:`")),
    tune("too many trials", VALUES + "  search: random\n  trials: 1001\n",
         (14, "tune.trials", "must be at most 1000, not 1001")),
    tune("fewer draws than trials", VALUES + "  search: random\n  trials: 3\n",
         (14, "tune.trials", "is more than there are different draws (2)")),
    tune("match", VALUES + "  match: mnist/*\n",
         (13, "tune.match", "'mnist/*' fits no dataset/backbone/variant of this suite that is")),
    tune("searched and set", "  epochs: 2\n  values: {epochs: [1, 2]}\n",
         (12, "tune.epochs", "is searched already, by tune.values.epochs")),
    tune("range in a grid", "  values:\n    lr: {uniform: [0.1, 0.2]}\n",
         (13, "tune.values.lr", "is a range, which a grid cannot have: list its values")),
    tune("large grid", f"  values: {{lr: {LONG}, batch_size: {LONG}}}\n",
         (12, "tune.values", "makes over 1,000 combinations; use search: random")),
    tune("no validation", VALUES,
         (15, "overrides[0].recipe.validation", "is 0, so that tune has nothing to judge"),
         more="overrides:\n- match: '*/td'\n  recipe: {validation: 0}\n"),
    tune("overridden", VALUES, (15, "overrides[0].recipe.lr",
         "is searched by tune.values.lr for fashion-mnist-mini/lenet_fc/td; drop one"),
         more="overrides:\n- match: '*/td'\n  recipe: {lr: 0.3}\n"),
    tune("does not go with the recipe", "  values: {momentum: [0.9, 0]}\n",
         (12, "tune.values", "momentum=0 for fashion-mnist-mini/lenet_fc/bu: Nesterov needs")),
    value("unknown key", "    lrr: [1]", (13, "tune.values.lrr", "'lrr'; did you mean 'lr'?")),
    value("augment", "    augment: [1]", (13, "tune.values.augment", "it is a mapping")),
    value("validation", "    validation: [0.1]",
          (13, "tune.values.validation", "it holds out what trials are judged by")),
    value("one value", "    lr: 0.1", (13, "tune.values.lr", "must be a list, as in [0.1, 0.05]")),
    value("empty list", "    lr: []", (13, "tune.values.lr", "is empty; name at least one value")),
    value("twice", "    lr: [0.1, 0.2, 0.1]", (13, "tune.values.lr[2]", "0.1 is there twice")),
    value("wrong value", "    batch_size: [64, 1.5]",
          (13, "tune.values.batch_size[1]", "must be a whole number, not 1.5")),
    value("word", "    schedule: [constat]",
          (13, "tune.values.schedule[0]", "did you mean 'constant'?")),
    value("unknown range", "    lr: {log_unifrm: [1, 2]}",
          (13, "tune.values.lr", "must be one range, {uniform: [a, b]} or {log_uniform: [a, b]}; "
           "did you mean 'log_uniform'?")),
    value("range of one end", "    lr: {uniform: [1]}",
          (13, "tune.values.lr.uniform", "must be [lowest, highest]")),
    value("range upside down", "    lr: {uniform: [0.2, 0.1]}",
          (13, "tune.values.lr.uniform", "0.2 is not below 0.1")),
    value("range of words", "    schedule: {uniform: [constant, one-cycle]}",
          (13, "tune.values.schedule.uniform", "schedule has no range; list its values")),
    value("logarithm of 0", "    weight_decay: {log_uniform: [0, 1]}",
          (13, "tune.values.weight_decay.log_uniform[0]", "above 0 on a logarithmic scale")),
    value("end out of range", "    momentum: {uniform: [0.5, 1]}",
          (13, "tune.values.momentum.uniform[1]", "must be below 1, not 1")),
    tune("several", "  trials: 2\n  match: x\n  values:\n    lrr: [1]\n    lr: []\n",
         (12, "tune.trials", "is for"), (13, "tune.match", "fits no"),
         (15, "tune.values.lrr", "unknown key"), (16, "tune.values.lr", "is empty")),
]  # fmt: skip


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_what_is_wrong_is_said_where_it_is(one: Case, tmp_path: Path) -> None:
    check(tmp_path / "suite.yaml", one.text, one.said)


def test_without_validation_in_the_recipe_it_is_said_there(tmp_path: Path) -> None:
    text = GOOD.replace("lr: 0.1", "validation: 0") + f"tune:\n{VALUES}"
    said = (6, "recipe.validation", "is 0, so that tune has nothing to judge its trials by")
    check(tmp_path / "suite.yaml", text, (said,))


def test_a_search_for_given_weights_alone_fits_nothing(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").touch()
    given = "[{name: lenet_fc, weights: w.safetensors, variants: [bu], label: given}, lenet_fc]"
    text = GOOD.replace("[lenet_fc]", given) + f"tune:\n{VALUES}  match: '*/given/*'\n"
    check(tmp_path / "suite.yaml", text, ((13, "tune.match", "that is trained, such as"),))


def test_a_right_one_is_read(tmp_path: Path) -> None:
    file = tmp_path / "suite.yaml"
    lists = "lr: [0.2, 0.1], bn_momentum: [null, 0.1], nesterov: [true, false]"
    file.write_text(f"{GOOD}tune: {{values: {{{lists}}}}}\n", encoding="utf-8")
    found = read_suite(str(file)).suite.tune
    assert found is not None
    assert (found.search, found.seed, found.epochs, found.match) == ("grid", 0, None, "*")
