"""What `checked` refuses, whatever a data set comes from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_sets import tensors, toy_dataset

from bench.data.dataset import Dataset, Split, check_square, checked
from bench.errors import DataError


def test_a_good_set_passes_unchanged() -> None:
    dataset = toy_dataset()
    passed = checked(dataset, "here")
    assert torch.equal(passed.train.images, dataset.train.images)
    assert (passed.channels, passed.image_size, passed.num_classes) == (1, 8, 2)
    check_square(passed, "here")


def test_images_become_contiguous() -> None:
    split = Split(tensors().images.transpose(2, 3), tensors().labels)
    assert not split.images.is_contiguous()
    assert checked(toy_dataset(train=split), "here").train.images.is_contiguous()


def test_hidden_test_labels_pass() -> None:
    assert checked(toy_dataset(test=Split(tensors().images, None)), "here").test.labels is None


GOOD = tensors()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": Split(GOOD.images[:0], GOOD.labels)}, "the training split is empty"),
        ({"test": Split(GOOD.images[:0], None)}, "the test split is empty"),
        ({"train": Split(GOOD.images, None)}, "the training split has no labels"),
        ({"train": Split(GOOD.images.float(), GOOD.labels)}, "training images are float32"),
        ({"train": Split(GOOD.images.numpy(), GOOD.labels)}, "training images are ndarray"),
        ({"train": Split(GOOD.images, [0, 1])}, "training labels are list"),
        ({"test": Split(GOOD.images[0], GOOD.labels)}, "expected uint8 of shape N x C x H x W"),
        ({"train": Split(GOOD.images, GOOD.labels[:3])}, "has 6 images but 3 labels"),
        ({"test": Split(GOOD.images, GOOD.labels.int())}, "test labels are int32"),
        ({"test": Split(GOOD.images, GOOD.labels[:, None])}, "expected int64 of shape N"),
        ({"test": Split(GOOD.images, GOOD.labels + 1)}, "test split has label 2, outside 0..1"),
        ({"train": Split(GOOD.images, GOOD.labels - 1)}, "label -1, outside 0..1 (2 classes)"),
        ({"train": Split(GOOD.images, GOOD.labels * 0)}, "training split has only one class"),
        ({"test": Split(GOOD.images, GOOD.labels * 0 + 1)}, "only one class (label 1)"),
        ({"test": tensors(channels=3)}, "training images have 1 channels, test images 3"),
        ({"classes": ("a", "a")}, "class names repeat"),
        ({"classes": ()}, "outside 0..-1"),
        ({"mean": (0.1, 0.2, 0.3)}, "need 1 values each"),
        ({"std": (0.0,)}, "std above 0"),
        ({"std": ()}, "need 1 values each"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as raised:
        checked(toy_dataset(**changes), "some/where")
    assert str(raised.value).startswith("some/where: ")
    assert message in str(raised.value)


def test_images_that_are_not_square() -> None:
    wide = replace(toy_dataset(), test=Split(tensors().images[..., :6, :], tensors().labels))
    with pytest.raises(DataError, match="test images are 8 x 6 pixels, not square; set image_size"):
        check_square(checked(wide, "here"), "here")


def test_split_from_arrays() -> None:
    images = np.zeros((3, 1, 4, 4), np.uint8)
    split = Split.from_arrays(images, np.array([0, 1, 2], np.uint8))
    assert split.labels is not None
    assert split.labels.dtype == torch.int64
    assert len(split) == 3
    assert Split.from_arrays(images, None).labels is None
    assert isinstance(toy_dataset(), Dataset)
