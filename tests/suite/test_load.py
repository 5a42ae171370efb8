"""Suites that are right: every shape the YAML may take, and what it then means."""

from __future__ import annotations

from pathlib import Path

import pytest
from malformed import GOOD

from bench.plan.check import CheckedSuite, read_suite
from bench.plan.expand import expand
from bench.suite.recipe import Augment, Recipe
from bench.suite.schema import Suite

MINIMAL = """\
name: minimal
seeds: [0]
datasets: [mnist]
backbones: [lenet_fc]
measures: [accuracy]
"""


def checked(folder: Path, text: str) -> CheckedSuite:
    file = folder / "suite.yaml"
    file.write_text(text, encoding="utf-8")
    return read_suite(str(file))


def read(folder: Path, text: str) -> Suite:
    return checked(folder, text).suite


def recipes(folder: Path, text: str) -> dict[str, Recipe]:
    """The recipe of each `dataset/backbone/variant`."""
    cells = expand(checked(folder, text)).cells
    return {c.training.label.rpartition("/")[0]: c.training.recipe for c in cells}


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    suite = read(tmp_path, MINIMAL)
    assert suite.variants == ("bu",)
    assert suite.description == ""
    assert suite.recipe == Recipe()
    assert (suite.recipe.epochs, suite.recipe.lr, suite.recipe.schedule) == (30, 0.1, "three-stage")


def test_names_and_mappings_mean_the_same(tmp_path: Path) -> None:
    long = GOOD.replace("[fashion-mnist-mini]", "[{name: fashion-mnist-mini}]")
    long = long.replace("[lenet_fc]", "[{name: lenet_fc}]").replace("- accuracy", "- accuracy:")
    long = long.replace("[additive_gaussian,", "[{name: additive_gaussian},")
    assert read(tmp_path, long).model_dump() == read(tmp_path, GOOD).model_dump() | {
        "measures": read(tmp_path, long).model_dump()["measures"]
    }
    names = [cell.identity for cell in expand(checked(tmp_path, long)).cells]
    assert names == [cell.identity for cell in expand(checked(tmp_path, GOOD)).cells]


def test_options_stand_beside_the_name(tmp_path: Path) -> None:
    text = GOOD.replace("fashion-mnist-mini", "{name: fashion-mnist-mini, image_size: 32}")
    text = text.replace("lenet_fc", "{name: lenet_fc, label: bilinear, upsampling: bilinear}")
    suite = read(tmp_path, text)
    assert suite.datasets[0].options == {"image_size": 32}
    assert suite.datasets[0].label == "fashion-mnist-mini"
    assert suite.backbones[0].options == {"upsampling": "bilinear"}
    assert suite.backbones[0].label == "bilinear"
    assert suite.measures[1].options["samples"] == 200


@pytest.mark.parametrize(
    ("label", "shown"),
    [("plain", "plain"), ("b.c_d+e:f=1-2", "b.c_d+e:f=1-2"), ("'9'", "9"), ("a..b", "a..b")],
)
def test_labels(label: str, shown: str, tmp_path: Path) -> None:
    text = MINIMAL.replace("[lenet_fc]", f"[{{name: lenet_fc, label: {label}}}]")
    assert read(tmp_path, text).backbones[0].label == shown


def test_a_model_may_be_called_by_its_own_name(tmp_path: Path) -> None:
    text = MINIMAL.replace("[lenet_fc]", "[{name: timm/resnet18, label: timm/resnet18}]")
    assert read(tmp_path, text).backbones[0].label == "timm/resnet18"


def test_labels_of_own_data_and_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my data").mkdir()
    (tmp_path / "own_nets_of_load.py").write_text("def _net(c, n): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = MINIMAL.replace("mnist", "'imagefolder:my data', 'imagefolder:.'")
    text = text.replace("lenet_fc", "'own_nets_of_load:_net'")
    suite = read(tmp_path, text)
    assert [d.label for d in suite.datasets] == ["imagefolder:my-data", "imagefolder:unnamed"]
    assert suite.backbones[0].label == "net"


def test_paths_start_from_the_folder_of_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "net.pt").write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    text = MINIMAL.replace("lenet_fc", "{name: lenet_fc, weights: net.pt}")
    (tmp_path / "deep" / "suite.yaml").write_text(text)
    plan = expand(read_suite("deep/suite.yaml"))
    assert plan.cells[0].training.weights == tmp_path / "deep" / "net.pt"
    assert [cell.title for cell in plan.cells] == ["accuracy"]  # nothing is trained


def test_weights_one_for_all_seeds_or_one_a_seed(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).write_bytes(name.encode())
    for weights, expected in (("a.pt", ["a.pt", "a.pt"]), ("[b.pt, a.pt]", ["b.pt", "a.pt"])):
        text = MINIMAL.replace("lenet_fc", f"{{name: lenet_fc, weights: {weights}}}")
        plan = expand(checked(tmp_path, text.replace("[0]", "[0, 1]")))
        assert [c.training.weights.name for c in plan.cells if c.training.weights] == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E-3", 1e-3), ("1.e-3", 1e-3), (".5e-3", 5e-4), ("2e+1", 20.0), ("1", 1.0)],
)
def test_numbers_as_people_write_them(text: str, value: float, tmp_path: Path) -> None:
    assert read(tmp_path, MINIMAL + f"recipe: {{lr: {text}}}\n").recipe.lr == value


def test_text_that_only_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    text = MINIMAL.replace("name: minimal", "name: v1e-3\ndescription: '1e5'")
    suite = read(tmp_path, text)
    assert (suite.name, suite.description) == ("v1e-3", "1e5")
    assert read(tmp_path, MINIMAL.replace("minimal", "2024-02-29")).name == "2024-02-29"


def test_anchors_and_merges(tmp_path: Path) -> None:
    text = MINIMAL.replace("[lenet_fc]", "[lenet_fc, nin]") + (
        "recipe: &slow {epochs: 9, lr: 0.2}\n"
        "overrides:\n"
        "  - match: '*/nin/*'\n"
        "    recipe: {<<: *slow, lr: 1e-2}\n"
    )
    found = recipes(tmp_path, text)
    assert [(r.epochs, r.lr) for r in found.values()] == [(9, 0.2), (9, 0.01)]


def test_overrides_apply_in_order_and_augmentation_key_by_key(tmp_path: Path) -> None:
    text = GOOD.replace("lr: 0.1", "lr: 0.1, augment: {shift: 0.1, flip: 0.5}") + (
        "overrides:\n"
        "  - {match: '*', recipe: {epochs: 2, augment: {flip: 0}}}\n"
        "  - {match: '*/lenet_fc/td', recipe: {epochs: 3, augment: {crop: 20}}}\n"
        "  - {match: 'fashion*/td', recipe: {nesterov: false, momentum: 0}}\n"
    )
    found = recipes(tmp_path, text)
    common = Recipe(epochs=2, augment=Augment(shift=0.1, flip=0))
    assert found == {
        "fashion-mnist-mini/lenet_fc/bu": common,
        "fashion-mnist-mini/lenet_fc/td": Recipe(
            epochs=3, augment=Augment(shift=0.1, flip=0, crop=20), nesterov=False, momentum=0
        ),
    }


def test_an_override_may_rest_on_the_recipe(tmp_path: Path) -> None:
    text = GOOD.replace("lr: 0.1", "nesterov: false") + (
        "overrides: [{match: '*/td', recipe: {momentum: 0}}]\n"
    )
    td = recipes(tmp_path, text)["fashion-mnist-mini/lenet_fc/td"]
    assert (td.momentum, td.nesterov) == (0, False)


def test_the_shipped_suites_are_good() -> None:
    for name in ("quickstart", "suites/quickstart.yaml"):
        assert read_suite(name).suite.name == "quickstart"


def test_the_text_is_kept_as_it_is(tmp_path: Path) -> None:
    text = "# why: ☂\n" + MINIMAL
    found = checked(tmp_path, text)
    assert (found.text, found.base) == (text, tmp_path)
