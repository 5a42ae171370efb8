"""What `checked` refuses, whatever a data set comes from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_sets import tensors, toy_dataset

from bench.data.dataset import Dataset, Split, check_square, checked
from bench.data.fingerprint import fingerprint
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


def test_classes_without_test_images_pass() -> None:
    named = ("a", "b", "c", "d")
    assert checked(toy_dataset(classes=named), "here").num_classes == 4
    assert checked(toy_dataset(classes=named, train=tensors(classes=4)), "here").num_classes == 4


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
        (
            {"classes": ("a", "b", "c"), "test": tensors(classes=3)},
            "the test split has images of class 'c', and the training split none",
        ),
        ({"mean": 0.5, "std": 0.3}, "mean 0.5 and std 0.3: expected a number for each channel"),
        ({"std": None}, "std None: expected a number for each channel in both, like (0.5,)"),
        ({"std": ("0.3",)}, "std ('0.3',): expected a number for each channel"),
        ({"std": "0.3"}, "std '0.3': expected a number for each channel"),
        ({"mean": (125.0,), "std": (63.0,)}, "of pixels scaled to [0, 1], so none above 1"),
        ({"mean": (float("nan"),)}, "of pixels scaled to [0, 1]"),
        ({"std": (float("nan"),)}, "of pixels scaled to [0, 1]"),
        ({"std": (float("inf"),)}, "of pixels scaled to [0, 1]"),
        ({"foreground": 51}, "foreground is 51, expected a number from 0 to 1"),
        ({"foreground": "0.2"}, "foreground is '0.2', expected a number from 0 to 1"),
        ({"classes": 2}, "classes is 2, expected the names of the classes"),
        ({"classes": (["a"], ["a"])}, "class names repeat"),
        ({"test": replace(GOOD, boxes=5)}, "test boxes are int, expected K x 4 numbers"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as raised:
        checked(toy_dataset(**changes), "some/where")
    assert str(raised.value).startswith("some/where: ")
    assert message in str(raised.value)


@pytest.mark.parametrize("made", [np.array, torch.tensor, list])
def test_statistics_of_any_kind_of_sequence_become_plain_numbers(made: Any) -> None:
    passed = checked(toy_dataset(mean=made([0.5]), std=made([0.25])), "here")
    assert (passed.mean, passed.std) == ((0.5,), (0.25,))
    assert {type(value) for value in passed.mean + passed.std} == {float}


def test_classes_become_plain_names_that_a_fingerprint_can_be_of() -> None:
    for given in (np.unique([3, 5]), torch.tensor([3, 5]), [3, 5]):
        passed = checked(toy_dataset(classes=given), "here")
        assert passed.classes == (3, 5)
        assert fingerprint(passed) == fingerprint(toy_dataset(classes=(3, 5)))


@pytest.mark.parametrize("given", ["ab", {"a", "b"}, {"a": 0, "b": 1}, np.array(2), 2])
def test_classes_that_have_no_order_are_refused(given: Any) -> None:
    with pytest.raises(DataError, match="expected the names of the classes"):
        checked(toy_dataset(classes=given), "here")


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
