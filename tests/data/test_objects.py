"""Where the objects are: masks and boxes that a data set knows, or that are bright on black."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_sets import toy_dataset

from bench.data import catalog, objects
from bench.data.dataset import Dataset, Split, checked
from bench.data.subset import thinned
from bench.errors import DataError

EVERY = torch.arange(1000)


def tensors() -> Split:
    return toy_dataset().test


def known(**more: object) -> Dataset:
    """Images with a mask of the two left columns and a box around them."""
    split = tensors()
    count, _, height, width = split.images.shape
    masks = torch.zeros(count, height, width, dtype=torch.bool)
    masks[:, :, :2] = True
    boxes = tuple(torch.tensor([[0.0, 0.0, 2.0, float(height)]]) for _ in range(count))
    return replace(toy_dataset(), test=replace(split, masks=masks, boxes=boxes), **more)


def test_pixels_above_a_fifth_are_the_object_of_sets_on_black() -> None:
    dataset = catalog.load("fashion-mnist-mini", root=Path())
    assert dataset.foreground == 0.2
    masks = objects.masks(dataset, EVERY)
    assert masks is not None
    # A fifth of 255 is 51, and 51 is not above it.
    assert torch.equal(masks, dataset.test.images[:, 0] > 51)
    higher = objects.masks(dataset, EVERY, foreground=0.5)
    assert higher is not None
    assert torch.equal(higher, dataset.test.images[:, 0] > 127)
    assert objects.boxes(dataset, EVERY) is None


def test_what_the_set_itself_knows_goes_first() -> None:
    dataset = known(foreground=0.2)
    index = torch.tensor([2, 0])
    masks, boxes = objects.masks(dataset, index), objects.boxes(dataset, index)
    assert masks is not None
    assert boxes is not None
    assert masks.shape[0] == len(boxes) == 2
    assert bool(masks[:, :, :2].all())
    assert not masks[:, :, 2:].any()
    bright = objects.masks(dataset, index, foreground=0.4)
    assert bright is not None
    assert not torch.equal(bright, masks)
    assert objects.boxes(dataset, index, foreground=0.4) is None


def test_a_set_without_objects_is_refused_with_what_to_do() -> None:
    assert objects.refusal(known()) == ""
    assert objects.refusal(toy_dataset(), foreground=0.2) == ""
    reason = objects.refusal(toy_dataset())
    assert "has no masks or boxes" in reason
    assert "foreground: 0.2" in reason
    assert objects.masks(toy_dataset(), torch.tensor([0])) is None


def test_parts_of_a_set_keep_their_objects() -> None:
    whole = known()
    masks = whole.test.masks
    assert masks is not None
    marked = masks.clone()
    marked[:, 0, -1] = whole.test.labels == 0  # type: ignore[assignment]
    part = thinned(replace(whole, test=replace(whole.test, masks=marked)), test_samples=2).test
    assert part.masks is not None
    assert part.boxes is not None
    assert len(part.masks) == len(part.boxes) == 2
    assert part.labels is not None
    assert part.masks[:, 0, -1].tolist() == (part.labels == 0).tolist()


def test_objects_are_resized_with_their_images() -> None:
    before = known()
    side = before.image_size
    wide = objects.resized_objects(
        replace(before.test, images=torch.zeros(4, 1, 2 * side, 2 * side, dtype=torch.uint8)),
        (side, side),
    )
    assert wide.masks is not None
    assert wide.boxes is not None
    assert wide.masks.shape[1:] == (2 * side, 2 * side)
    assert bool(wide.masks[:, :, :4].all())
    assert not wide.masks[:, :, 4:].any()
    assert wide.boxes[0].tolist() == [[0.0, 0.0, 4.0, 2.0 * side]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"masks": torch.zeros(6, 3, 3, dtype=torch.bool)}, "masks are bool of shape (6, 3, 3)"),
        ({"masks": torch.zeros(6, 8, 8)}, "masks are float32"),
        ({"boxes": (torch.zeros(1, 4),)}, "a box of test image 0 has no area"),
        ({"boxes": (torch.tensor([[99, 0, 120, 4]]),)}, "image 0 lies outside of the image"),
        ({"boxes": (torch.tensor([[0, -9, 2, 0]]),)}, "image 0 lies outside of the image"),
        ({"boxes": (torch.tensor([[0, 0, 1, 1]]),)}, "has 4 images but boxes of 1"),
        ({"boxes": tuple(torch.zeros(4) for _ in range(4))}, "of image 0 have shape (4,)"),
    ],
)
def test_objects_that_cannot_be_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(DataError) as caught:
        checked(replace(toy_dataset(), test=replace(tensors(), **change)), "here")
    assert said in str(caught.value)
