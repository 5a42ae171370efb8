"""The localization measure: heatmaps of a network that looks where it is told, against masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from measure_parts import context
from pydantic import ValidationError
from torch import Tensor, nn

from bench.data.dataset import Dataset, Split
from bench.errors import BenchError
from bench.explain import cam, localize
from bench.measures import base, localization
from bench.measures.base import Found

SIDE = 8


def squares(count: int = 12) -> Dataset:
    """A bright square of 4 x 4 in the left (class 0) or right half; dim light elsewhere."""
    labels = torch.arange(count) % 2
    images = torch.full((count, 1, SIDE, SIDE), 20, dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[0, 2:6, 4 * label : 4 * label + 4] = 200
    split = Split(images, labels)
    return Dataset("squares", split, split, ("left", "right"), (0.0,), (1.0,), foreground=0.2)


class Looking(nn.Module):
    """Sums the light of each half into its class's logit: its map is the image itself. `wrong`
    turns the answer round; `scale` is the size of the logits."""

    def __init__(self, wrong: bool = False, scale: float = 1.0) -> None:
        super().__init__()
        halves = torch.zeros(2, 1, SIDE, SIDE)
        halves[0, :, :, :4] = halves[1, :, :, 4:] = 1
        self.map = nn.Conv2d(1, 2, 1, bias=False)
        self.map.weight.data.fill_(1.0)
        self.halves = nn.Parameter((halves.flip(0) if wrong else halves).squeeze(1) * scale)

    def forward(self, images: Tensor) -> Tensor:
        return (self.map(images) * self.halves).sum((2, 3))


def measured(dataset: Dataset, backbone: nn.Module, **options: Any) -> Found:
    (item,) = localization.MEASURE.items(localization.Options.model_validate(options))
    return localization.run(context(dataset, backbone, item.options))


def test_figures_are_those_of_the_heatmaps() -> None:
    dataset = squares()
    options = {"method": "hires-cam", "threshold": 0.5}
    found = measured(dataset, Looking(), **options)
    # Light on the object is worth 200, elsewhere in that half 20: the map's own minimum is 0.
    assert found.metrics["images"] == 12
    assert found.metrics["precision"] == found.metrics["recall"] == found.metrics["iou"] == 100
    assert found.metrics["pxap"] == found.metrics["max_box_acc_v2"] == 100
    assert found.metrics["pointing"] == 100
    heat = cam.heatmaps(Looking(), dataset.test.images / 255, method="hires-cam", layers="map")
    expected = localize.counts(heat.maps["map"], dataset.test.images[:, 0] > 51, localize.grid())
    for name in ("tp", "fp", "fn"):
        np.testing.assert_array_equal(found.arrays[name], getattr(expected, name))
    assert found.arrays["best_iou"].shape == (12, 101)


def test_tiny_boxes_and_empty_masks_do_not_spoil_the_rest() -> None:
    plain = squares()
    boxes = tuple(torch.tensor([[4.0 * k, 2, 4 * k + 4, 6]]) for k in plain.test.labels.tolist())
    boxes = (torch.tensor([[1.6, 3.6, 2.3, 4.3]]), *boxes[1:])
    test = replace(plain.test, boxes=boxes)
    found = measured(replace(plain, test=test, foreground=None), Looking(), method="hires-cam")
    assert found.metrics["images"] == 12
    assert found.metrics["pointing"] == pytest.approx(100 * (11 + 1 / 16) / 12)
    masks = plain.test.images[:, 0] > 51
    masks[3] = False
    test = replace(test, masks=masks)
    found = measured(replace(plain, test=test, foreground=None), Looking(), method="hires-cam")
    assert found.metrics["images"] == 11
    assert found.metrics["pointing"] == 100


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_batches_change_nothing(batch_size: int) -> None:
    dataset = squares()
    whole, parts = (
        measured(dataset, Looking(), method="grad-cam", batch_size=size)
        for size in (100, batch_size)
    )
    assert parts.metrics == pytest.approx(whole.metrics)
    np.testing.assert_array_equal(parts.arrays["tp"], whole.arrays["tp"])


def test_only_what_is_classified_correctly_counts() -> None:
    dataset = squares()
    labels = dataset.test.labels.clone()  # type: ignore[union-attr]
    labels[:4] = 1 - labels[:4]
    part = replace(dataset, test=replace(dataset.test, labels=labels))
    found = measured(part, Looking(), method="hires-cam")
    assert found.metrics["images"] == 8
    assert found.arrays["correct"].tolist() == [False] * 4 + [True] * 8
    with pytest.raises(BenchError, match="not one image with an object is classified correctly"):
        measured(dataset, Looking(wrong=True))


def test_saturated_probabilities_are_told() -> None:
    with pytest.raises(BenchError, match=r"'map' is 0/0: .* try `score: logit`"):
        measured(squares(), Looking(scale=1e4))


class Doubting(Looking):
    """Has the least light where its class is: no value of its maps speaks for the class."""

    def forward(self, images: Tensor) -> Tensor:
        return -((self.map(images)) * self.halves.flip(0)).sum((2, 3))


def test_maps_without_a_value_for_the_class_are_told_without_advice_that_is_taken() -> None:
    for more in ({"method": "grad-cam"}, {"method": "layer-cam", "score": "logit"}):
        with pytest.raises(BenchError) as caught:
            measured(squares(), Doubting(), **more)
        assert "dead, without a positive value or constant; try another" in str(caught.value)
        assert "score" not in str(caught.value)


def test_a_set_without_objects_is_refused_before_training() -> None:
    bare = replace(squares(), foreground=None)
    (item,) = localization.MEASURE.items(localization.Options())
    assert "no masks or boxes" in localization.refusal(item.options, bare)
    (item,) = localization.MEASURE.items(localization.Options(foreground=0.3))
    assert localization.refusal(item.options, bare) == ""
    assert measured(bare, Looking(), method="hires-cam", foreground=0.2).metrics["images"] == 12


def test_boxes_alone_give_what_boxes_can() -> None:
    dataset = replace(squares(), foreground=None)
    boxes = tuple(
        torch.tensor([[4 * label, 2, 4 * label + 4, 6]])
        for label in dataset.test.labels.tolist()  # type: ignore[union-attr]
    )
    boxed = replace(dataset, test=replace(dataset.test, boxes=boxes))
    found = measured(boxed, Looking(), method="hires-cam", threshold=0.5)
    assert found.metrics["max_box_acc_v2"] == found.metrics["pointing"] == 100
    assert "precision" not in found.metrics
    assert "tp" not in found.arrays


def test_a_cell_for_each_layer() -> None:
    items = localization.MEASURE.items(localization.Options(layers=("act_1", "last")))
    assert [item.label for item in items] == ["act_1", "last"]
    (alone,) = localization.MEASURE.items(localization.Options(layers=("last",)))
    assert alone.label is None
    # What was measured stays measured when another layer is added.
    assert alone.key == items[1].key
    with pytest.raises(BenchError, match="unknown layer 'act_9'; there are map"):
        measured(squares(), Looking(), layers=["act_9"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 0.205}, "0.205 is not a multiple of 0.01"),
        ({"layers": ["last", "last"]}, "'last' is there twice"),
        ({"layers": ["all"]}, "name the layers one by one"),
        ({"method": "cam"}, "Input should be 'paper'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        localization.Options.model_validate(options)
    assert said in str(caught.value)


@pytest.mark.parametrize("threshold", [0.0, 0.07, 0.2, 0.29, 0.57, 0.99])
def test_thresholds_that_are_kept(threshold: float) -> None:
    assert localization.Options(threshold=threshold).threshold == threshold


def test_it_is_registered() -> None:
    assert base.load("localization") is localization.MEASURE
