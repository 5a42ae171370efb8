"""Suites with wrong values and names: where the mistake is, what it is, what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from malformed import GOOD, ROBUSTNESS, Case, added, case, check

from bench.cli import main

RECIPE = "{epochs: 6, batch_size: 128, lr: 0.1}"
MATCHING = "overrides:\n  - match: '*/td'\n    recipe: "

TYPES = [
    case("name a number", "name: good", "name: 2024", (1, "name", "must be text, not 2024")),
    case("name null", "name: good", "name:", (1, "name", "must be text, not an empty value")),
    case("name a path", "name: good", "name: ../up", (1, "name", "'../up' cannot be a name")),
    case("name too long", "good", "x" * 101, (1, "name", "longer than 100 characters")),
    case("seeds a number", "[0, 1]", "3", (2, "seeds", "must be a list, not 3; write [3]")),
    case("seeds as a range", "[0, 1]", "0..4",
         (2, "seeds", "must be a list, not '0..4'; write [0, 1, 2, 3, 4]")),
    case("seeds as a slice", "[0, 1]", "2 - 3", (2, "seeds", "not '2 - 3'; write [2, 3]")),
    case("seeds with commas", "[0, 1]", "0, 7", (2, "seeds", "not '0, 7'; write [0, 7]")),
    case("seeds many", "[0, 1]", "0..99999",
         (2, "seeds", "not '0..99999'; write all of them, like [0, 1, 2, 3, 4]")),
    case("seeds backwards", "[0, 1]", "4..0", (2, "seeds", "write all of them, like [0, 1, 2")),
    case("seeds a word", "[0, 1]", "all", (2, "seeds", "write all of them, like [0, 1, 2, 3, 4]")),
    case("seeds null", "seeds: [0, 1]", "seeds:", (2, "seeds", "not an empty value")),
    case("seeds empty", "[0, 1]", "[]", (2, "seeds", "is empty; name at least one")),
    case("seed negative", "[0, 1]", "[0, -1]", (2, "seeds[1]", "must be at least 0, not -1")),
    case("seed huge", "[0, 1]", "[9999999999]", (2, "seeds[0]", "must be below 2147483648")),
    case("seed text", "[0, 1]", "[0, '1']", (2, "seeds[1]", "not '1' (leave out the quotes)")),
    case("seed boolean", "[0, 1]", "[0, yes]", (2, "seeds[1]", "whole number, not true")),
    case("seed a fraction", "[0, 1]", "[0, 1.5]", (2, "seeds[1]", "whole number, not 1.5")),
    case("seed twice", "[0, 1]", "\n  - 4\n  - 4", (4, "seeds[1]", "4 is there twice")),
    case("variants text", "[bu, td]", "bu", (5, "variants", "not 'bu'; write [bu]")),
    case("variant null", "[bu, td]", "[bu, ~]", (5, "variants[1]", "an empty value is not one")),
    case("datasets empty", "[fashion-mnist-mini]", "[]", (3, "datasets", "is empty")),
    case("datasets a number", "[fashion-mnist-mini]", "5", (3, "datasets", "a list, not 5")),
    case("dataset without name", "[fashion-mnist-mini]", "[{image_size: 14}]",
         (3, "datasets[0]", "needs a `name:`")),
    case("backbone as a measure is written", "[lenet_fc]", "[lenet_fc: {merge: add}]",
         (4, "backbones[0]", "needs a `name:` that is text: {name: lenet_fc, merge: ...}")),
    case("attack as a measure is written", ROBUSTNESS, "{attacks: [gaussian_blur: ]}",
         (9, "measures[1].robustness.attacks[0]", "is text: {name: gaussian_blur}")),
    case("backbones empty", "[lenet_fc]", "[]", (4, "backbones", "is empty")),
    case("backbone a number", "[lenet_fc]", "[7]", (4, "backbones[0]", "must be a name, or a")),
    case("recipe a list", RECIPE, "[epochs]", (6, "recipe", "must be a mapping, not a list")),
    case("recipe null", " " + RECIPE, "", (6, "recipe", "must be a mapping, not an empty value")),
    case("epochs zero", "epochs: 6", "epochs: 0", (6, "recipe.epochs", "at least 1, not 0")),
    case("epochs boolean", "epochs: 6", "epochs: yes", (6, "recipe.epochs", "number, not true")),
    case("epochs huge", "epochs: 6", "epochs: 9999999999", (6, "recipe.epochs", "must be below")),
    case("lr text", "lr: 0.1", "lr: '0.1'", (6, "recipe.lr", "leave out the quotes")),
    case("lr not a number", "lr: 0.1", "lr: .nan", (6, "recipe.lr", "a finite number, not .nan")),
    case("lr infinite", "lr: 0.1", "lr: .inf", (6, "recipe.lr", "a finite number, not .inf")),
    case("lr zero", "lr: 0.1", "lr: 0", (6, "recipe.lr", "must be above 0, not 0")),
    case("nesterov text", "lr: 0.1", "nesterov: 'on'", (6, "recipe.nesterov", "true or false")),
    case("nesterov alone", "lr: 0.1", "momentum: 0", (6, "recipe", "Nesterov needs momentum")),
    case("padding of no crop", "lr: 0.1", "augment: {crop_padding: 4}",
         (6, "recipe", "augment.crop_padding: 4 does nothing without augment.crop; set that to")),
    case("augment a number", "lr: 0.1", "augment: 1", (6, "recipe.augment", "must be a mapping")),
    case("flip too likely", "lr: 0.1", "augment: {flip: 2}",
         (6, "recipe.augment.flip", "must be at most 1, not 2")),
    case("overrides a mapping", RECIPE, RECIPE + "\noverrides: {match: x}",
         (7, "overrides", "must be a list, not a mapping")),
    case("override without recipe", RECIPE, RECIPE + "\noverrides:\n  - match: '*'",
         (8, "overrides[0].recipe", "is missing")),
    case("measure options a list", ROBUSTNESS, "[gaussian_blur]",
         (9, "measures[1]", "the options of 'robustness' must be a mapping")),
    case("measure of two names", "  - efficiency", "  - {efficiency: , accuracy: }",
         (10, "measures[2]", "one name with options")),
    case("attacks empty", ROBUSTNESS, "{attacks: []}",
         (9, "measures[1].robustness.attacks", "is empty")),
    case("attacks missing", ROBUSTNESS, "{samples: 5}",
         (9, "measures[1].robustness.attacks", "is missing")),
    case("samples negative", "samples: 200", "samples: -1",
         (9, "measures[1].robustness.samples", "must be at least 0, not -1")),
    case("epsilons a fraction", "[additive_gaussian,", "[{name: additive_gaussian, epsilons: 1.5},",
         (9, "measures[1].robustness.attacks[0].epsilons", "positive whole number, not 1.5")),
    case("key missing", "seeds: [0, 1]\n", "", (1, "seeds", "is missing")),
]  # fmt: skip

NAMES = [
    case("top key", "variants: [bu, td]", "variant: [bu, td]",
         (5, "variant", "unknown key 'variant'; did you mean 'variants'?")),
    case("key of earlier versions", "lr: 0.1", "deterministic: true",
         (6, "recipe.deterministic", "no key any more: write `mode: deterministic` for true")),
    case("mode unknown", "lr: 0.1", "mode: quick",
         (6, "recipe.mode", "'quick' is not one of deterministic, fast")),
    case("channels_last text", "lr: 0.1", "channels_last: maybe",
         (6, "recipe.channels_last", "must be true, false or auto, not 'maybe'")),
    case("recipe key", "batch_size", "batchsize",
         (6, "recipe.batchsize", "unknown key 'batchsize'; did you mean 'batch_size'?")),
    case("augment key", "lr: 0.1", "augment: {flipp: 1}",
         (6, "recipe.augment.flipp", "did you mean 'flip'?")),
    added("override key", "overrides:\n  - match: '*'\n    recipes: {}\n    recipe: {}\n",
          (13, "overrides[0].recipes", "did you mean 'recipe'?")),
    added("override recipe key", MATCHING + "{epoch: 3}\n",
          (13, "overrides[0].recipe.epoch", "did you mean 'epochs'?")),
    added("override augment key", MATCHING + "\n      augment:\n        shfit: 0.1\n",
          (15, "overrides[0].recipe.augment.shfit", "did you mean 'shift'?")),
    case("measure option", "samples: 200", "sample: 200",
         (9, "measures[1].robustness.sample", "did you mean 'samples'?")),
    case("option of a measure without", "- accuracy", "- accuracy: {top: 5}",
         (8, "measures[0].accuracy.top", "unknown key 'top'")),
    case("dataset", "fashion-mnist-mini", "fashion-mnist-mimi",
         (3, "datasets[0]", "did you mean 'fashion-mnist-mini'?")),
    case("dataset in a mapping", "[fashion-mnist-mini]", "\n  - label: x\n    name: cifar1O",
         (5, "datasets[0].name", "did you mean 'cifar10'?")),
    case("dataset scheme", "fashion-mnist-mini", "imagefolders:here",
         (3, "datasets[0]", "did you mean 'imagefolder:here'?")),
    case("dataset options", "[fashion-mnist-mini]",
         "\n  - name: fashion-mnist-mini\n    imagesize: 14\n    sigma: 2",
         (5, "datasets[0].imagesize", "did you mean 'image_size'?"),
         (6, "datasets[0].sigma", "unknown option 'sigma'; known: image_size, test_samples")),
    case("backbone", "lenet_fc", "lenetfc", (4, "backbones[0]", "did you mean 'lenet_fc'?")),
    case("backbone options", "[lenet_fc]",
         "[{name: lenet_fc, upsamplin: x, merge: sub, dropout: a}]",
         (4, "backbones[0].dropout", "must be a number in [0, 1), not 'a'"),
         (4, "backbones[0].merge", "Choose from: concat, add"),
         (4, "backbones[0].upsamplin", "did you mean 'upsampling'?")),
    case("backbone restricted", "[lenet_fc]", "[{name: lenet_fc, datasets: [fashion-mnist]}]",
         (4, "backbones[0].datasets[0]", "did you mean 'fashion-mnist-mini'?")),
    case("variant", "[bu, td]", "[bu, td_unit]",
         (5, "variants[1]", "not one of bu, td, td_uni, td_rev; did you mean 'td_uni'?")),
    case("attack", "gaussian_blur", "gausian_blur",
         (9, "measures[1].robustness.attacks[1]", "did you mean 'gaussian_blur'?")),
    case("attack option", "[additive_gaussian,", "[{name: additive_gaussian, epsilon: 9},",
         (9, "measures[1].robustness.attacks[0].epsilon", "did you mean 'epsilons'?")),
    case("measure", "- accuracy", "- acuracy", (8, "measures[0]", "did you mean 'accuracy'?")),
    case("measure with options", "robustness:", "robustnes:",
         (9, "measures[1]", "did you mean 'robustness'?")),
]  # fmt: skip

TOGETHER = [
    case("dataset twice", "[fashion-mnist-mini]", "\n  - mnist\n  - mnist",
         (5, "datasets[1]", "'mnist' is there twice; give one of them a label")),
    case("labels twice", "[lenet_fc]", "[{name: lenet_fc, label: a}, {name: nin, label: a}]",
         (4, "backbones[1]", "'a' is there twice")),
    case("variant twice", "[bu, td]", "[bu, bu]", (5, "variants[1]", "'bu' is there twice")),
    case("measure twice", "- efficiency", "- accuracy",
         (10, "measures[2]", "'accuracy' is there twice")),
    added("limit of time", "timeout: soon\n", (11, "timeout", "'soon'")),
    added("limit of no time", "timeout: 0\n", (11, "timeout", "")),
    added("limit of memory", "memory: much\n", (11, "memory", "'much'")),
    added("limit of memory that is none", "memory: -1\n", (11, "memory", "")),
    case("measure only for nobody", "- accuracy", "- accuracy: {only: 'mnist/*'}",
         (8, "measures[0].accuracy.only", "`only: mnist/*` fits no dataset/backbone/variant")),
    case("measure only for a number", "- accuracy", "- accuracy: {only: 3}",
         (8, "measures[0]", "`only` must be a glob such as 'mnist/*'")),
    case("seed the suite has not", "[lenet_fc]", "[{name: lenet_fc, seeds: [7]}]",
         (4, "backbones[0].seeds[0]", "7 is none of this suite's seeds")),
    case("strength in levels of 255", "[additive_gaussian,", "[{name: pgd, epsilons: [0.1, 8]},",
         (9, "measures[1].robustness.attacks[0].epsilons", "write '8/255'")),
    case("norm after a strength that it refuses", "[additive_gaussian,",
         "[{name: pgd, norm: L2, epsilons: 8}, {name: pgd, label: p, epsilons: 2, norm: Linf},",
         (9, "measures[1].robustness.attacks[1].epsilons", "write '2/255'")),
    case("wrong norm", "[additive_gaussian,", "[{name: pgd, norm: L3, epsilons: 8},",
         (9, "measures[1].robustness.attacks[0].epsilons", "write '8/255'"),
         (9, "measures[1].robustness.attacks[0].norm", "one of Linf, L2, not 'L3'")),
    case("attack twice", "additive_gaussian", "gaussian_blur",
         (9, "measures[1].robustness.attacks[1]", "give one of them a label")),
    *(case(f"label {label}", "[lenet_fc]", f"\n  - name: lenet_fc\n    label: {label}",
           (6, "backbones[0].label", f"'{label}' cannot be a label"))
      for label in ("../x", "/etc/x", "a//b", "a/../b", "a/.", "..", "a/", "a b", "-x", "a/b")),
    case("slash in a data set's label", "[fashion-mnist-mini]", "[{name: mnist, label: own/mnist}]",
         (3, "datasets[0].label", "'own/mnist' cannot be a label: use letters, digits and . _")),
    case("more images than there are", "[fashion-mnist-mini]",
         "\n  - name: fashion-mnist-mini\n    train_samples: 4001\n    test_samples: 1000",
         (5, "datasets[0].train_samples",
          "4,001 is more than there are (4,000 training images); leave it out")),
    case("more test images than there are", "[fashion-mnist-mini]",
         "[{name: fashion-mnist-mini, test_samples: 1001}]",
         (3, "datasets[0].test_samples", "(1,000 test images)")),
    *(case(f"fewer images than classes: {key}", "[fashion-mnist-mini]",
           f"\n  - name: fashion-mnist-mini\n    {key}: {count}",
           (5, f"datasets[0].{key}", f"{count} is too few for 10 classes; a class-balanced part"))
      for key in ("train_samples", "test_samples") for count in (1, 9)),
    added("override fits nothing", "overrides:\n  - recipe: {epochs: 3}\n    match: '*/tdd'\n",
          (13, "overrides[0].match", "'*/tdd' fits no dataset/backbone/variant of this")),
    added("override inconsistent", MATCHING + "{momentum: 0}\n",
          (13, "overrides[0].recipe", "Nesterov needs momentum above 0")),
    added("override that crops no more",
          "overrides:\n  - match: '*'\n    recipe: {augment: {crop: 24, crop_padding: 2}}\n"
          "  - match: '*/td'\n    recipe: {augment: {crop: null}}\n",
          (15, "overrides[1].recipe", "augment.crop_padding: 2 does nothing without")),
    added("overrides inconsistent together",
          "overrides:\n  - match: '*'\n    recipe: {momentum: 0, nesterov: false}\n"
          "  - match: '*/td'\n    recipe: {nesterov: true}\n",
          (15, "overrides[1].recipe", "Nesterov needs momentum above 0")),
    case("module that is not there", "lenet_fc", "no_such_module:net",
         (4, "backbones[0]", "No module named 'no_such_module'"),
         ),
    case("attribute that is not there", "fashion-mnist-mini", "json:no_such",
         (3, "datasets[0]", "'json:no_such' does not import: AttributeError")),
    case("measure that is no measure", "accuracy", "json:__name__",
         (8, "measures[0]", "neither a Measure nor a function")),
    case("attack that is not there", "gaussian_blur", "json:blur",
         (9, "measures[1].robustness.attacks[1]", "does not import: AttributeError")),
    case("model that timm has not", "lenet_fc", "timm/resnet81",
         (4, "backbones[0]", "timm has no model 'resnet81'; did you mean 'resnet18'?")),
    case("model that torchvision has not", "lenet_fc", "torchvision/vgg12",
         (4, "backbones[0]", "torchvision has no model 'vgg12'; did you mean 'vgg1")),
    case("option that inversion has not", "[lenet_fc]", "[{name: torchvision/vgg11, fines: 1}]",
         (4, "backbones[0].fines", "unknown option 'fines'; did you mean 'finest'?")),
    case("finest that there is not", "[lenet_fc]", "[{name: torchvision/vgg11, finest: 3}]",
         (4, "backbones[0].finest", "finest")),
]  # fmt: skip


@pytest.mark.parametrize("broken", TYPES + NAMES + TOGETHER, ids=lambda broken: broken.name)
def test_a_mistake_is_one_clear_line(broken: Case, tmp_path: Path) -> None:
    check(tmp_path / "suite.yaml", broken.text, broken.said)


def test_the_suite_they_are_made_from_is_good(tmp_path: Path) -> None:
    file = tmp_path / "suite.yaml"
    file.write_text(GOOD, encoding="utf-8")
    assert main(["plan", str(file), "--no-cost"]) == 0


def test_all_mistakes_are_reported_at_once_and_sorted_by_line(tmp_path: Path) -> None:
    text = """\
seeds: [0, 0, -1]
name: bad name
datasets:
  - mnits
  - {name: mnist, image_sise: 9}
backbones:
  - name: lenetfc
    label: ../x
variants: bu
recipe:
  epochs: many
  learning_rate: 1
overrides:
  - match: '*'
    recipe: {lr: -1}
measures:
  - acuracy
  - robustness:
      attacks:
        - {name: gaussian_blur, epsilons: 0, epsilon: 3}
        - bluer
      repeats: 0
colour: !colour blue
"""
    check(
        tmp_path / "suite.yaml",
        text,
        (
            (1, "seeds[1]", "0 is there twice"),
            (1, "seeds[2]", "must be at least 0"),
            (2, "name", "cannot be a name"),
            (4, "datasets[0]", "did you mean 'mnist'?"),
            (5, "datasets[1].image_sise", "did you mean 'image_size'?"),
            (8, "backbones[0].label", "cannot be a label"),
            (9, "variants", "must be a list"),
            (11, "recipe.epochs", "must be a whole number, not 'many'"),
            (12, "recipe.learning_rate", "unknown key"),
            (15, "overrides[0].recipe.lr", "must be above 0"),
            (17, "measures[0]", "did you mean 'accuracy'?"),
            (20, "measures[1].robustness.attacks[0].epsilon", "did you mean 'epsilons'?"),
            (20, "measures[1].robustness.attacks[0].epsilons", "must be a positive whole number"),
            (21, "measures[1].robustness.attacks[1]", "unknown attack 'bluer'"),
            (22, "measures[1].robustness.repeats", "must be at least 1"),
            (23, "colour", "the tag '!colour' is not allowed"),
        ),
    )
