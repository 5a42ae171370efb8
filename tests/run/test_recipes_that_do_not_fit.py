"""Recipes that cannot train a network on the images of a suite are refused before any training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main

Tiny = Callable[..., Path]
WHERE = "suite.yaml:4: backbones[0]: blobs/linear/bu: "

# 160 training and 60 test images of 12 pixels; the network takes no other size.
CASES = [
    ("augment: {crop: 99}", "crop: 99 is larger than the training images (12 pixels)"),
    (
        "augment: {crop: 20, crop_padding: 2}",
        "crop: 20 is larger than the training images (12 pixels, 16 with crop_padding: 2)",
    ),
    (
        "augment: {crop: 8}",
        "backbone 'tiny_nets:linear' (bu): fails on images of 8 x 8 pixels, which it is to be "
        "trained on: RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x64 and 144x4); "
        "test images have 12 x 12: set augment.crop: 12",
    ),
    (
        "validation: 0.999",
        "blobs: validation: 0.999 leaves 0 of 160 training images, and training needs 2; hold out "
        "fewer, or use more images",
    ),
    ("validation: 0.99", "blobs: validation: 0.99 leaves 1 of 160 training images, and training"),
]


@pytest.mark.parametrize(("recipe", "said"), CASES)
def test_what_does_not_fit_is_one_line_before_anything_is_trained(
    recipe: str, said: str, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tiny(("lr: 0.05}", f"lr: 0.05, {recipe}}}"))
    assert main(["run", str(suite), "--out", "run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (WHERE + said) in line
    assert not [*Path("run").glob("weights/*")]


def test_a_plan_tells_crops_that_are_too_large(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    known = (("tiny_sets:blobs", "fashion-mnist-mini"), ("tiny_nets:linear", "lenet_fc"))
    for crop, size in ((29, ""), (28, "image_size: 27, ")):
        changes = (
            *known,
            ("lr: 0.05}", f"lr: 0.05, augment: {{crop: {crop}}}}}"),
            ("fashion-mnist-mini", f"{{name: fashion-mnist-mini, {size}test_samples: 60}}"),
        )
        assert main(["plan", str(tiny(*changes)), "--no-cost"]) == 2
        assert (
            f"/lenet_fc/bu: crop: {crop} is larger than the training images ({crop - 1} pixels)"
            in capsys.readouterr().err
        )


@pytest.mark.parametrize("recipe", ["augment: {crop: 12, crop_padding: 2}", "validation: 0.98"])
def test_what_fits_is_trained(recipe: str, tiny: Tiny) -> None:
    suite = tiny(("lr: 0.05}", f"lr: 0.05, {recipe}}}"))
    assert main(["run", str(suite), "--out", "run", "--only", "*/train"]) == 0


def test_a_network_of_any_size_may_be_trained_on_crops(tiny: Tiny) -> None:
    suite = tiny(("tiny_nets:linear", "lenet_fc"), ("lr: 0.05}", "lr: 0.05, augment: {crop: 8}}"))
    assert main(["run", str(suite), "--out", "run", "--only", "*/train"]) == 0


@pytest.mark.parametrize(
    ("variant", "name"), [("bu", "timm/test_vit3"), ("td", "timm/test_coatnet")]
)
def test_a_librarys_network_of_one_size_is_refused_on_crops(
    variant: str, name: str, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    images = "[{name: fashion-mnist-mini, image_size: 32, train_samples: 100, test_samples: 50}]"
    suite = tiny(
        ("[tiny_sets:blobs]", images),
        ("[tiny_nets:linear]", f"[{name}]"),
        ("[bu]", f"[{variant}]"),
        ("lr: 0.05}", "lr: 0.05, augment: {crop: 16}}"),
    )
    assert main(["run", str(suite), "--out", "run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    said = f"backbone '{name}' ({variant}): fails on images of 16 x 16 pixels, which it is to be "
    assert f"{said}trained on: " in line
    assert line.endswith("; test images have 32 x 32: set augment.crop: 32")
    assert ".py:" not in line, "a place in the user's own code, of which there is none"


def test_what_is_not_trained_needs_no_fitting_recipe(tiny: Tiny) -> None:
    assert main(["run", str(tiny()), "--out", "run"]) == 0
    (weights,) = Path("run/weights").glob("*.safetensors")
    given = f"[{{name: tiny_nets:linear, weights: {weights}}}]"
    more = ("lr: 0.05}", "lr: 0.05, validation: 0.999, augment: {crop: 99}}")
    suite = tiny(("[tiny_nets:linear]", given), more, name="given.yaml")
    assert main(["run", str(suite), "--out", "given"]) == 0
