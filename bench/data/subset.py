"""Seeded, class-balanced parts of a data set, the same for every network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.data.options import PARTS, Check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.data.dataset import Dataset, Split

SEED = 0
# What `test_images` adds where it is not known that every data set has as many test images.
OR_FEWER = ", or all where there are fewer"


def count(value: object) -> str | None:
    """Say what is wrong with a number of images, or return None."""
    if type(value) is int and value > 0:
        return None
    return f"{value!r} is not a positive whole number of images"


# Options of every data set, beside its own.
OPTIONS: Mapping[str, Check] = dict.fromkeys(PARTS, count)


def split_options(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of this module, and the others."""
    ours = {key: value for key, value in given.items() if key in OPTIONS}
    return ours, {key: value for key, value in given.items() if key not in OPTIONS}


def misfit(counts: Mapping[str, int], train: int, test: int, classes: int) -> str | None:
    """Say which of the options asks for more images than there are, or for too few to have one of
    each class, or return None.

    Args:
        counts: options of this module with values that are numbers of images.
        train: number of training images that there are.
        test: that of test images.
        classes: number of classes.
    """
    for key, part, there in (("train_samples", "training", train), ("test_samples", "test", test)):
        if counts.get(key, 0) > there:
            asked = f"option '{key}': {counts[key]:,} is more than there are"
            return f"{asked} ({there:,} {part} images); leave it out to use all of them"
        if counts.get(key, classes) < classes:
            asked = f"option '{key}': {counts[key]:,} is too few for {classes:,} classes"
            return f"{asked}; a class-balanced part takes one {part} image of each at least"
    return None


def thinned(
    dataset: Dataset, train_samples: int | None = None, test_samples: int | None = None
) -> Dataset:
    """A class-balanced part of each split; all of it where there are not more images.

    Mean and deviation stay those of the whole set.
    """
    return replace(
        dataset,
        train=_part(dataset.train, train_samples),
        test=_part(dataset.test, test_samples),
    )


def _part(split: Split, samples: int | None) -> Split:
    import torch

    if samples is None or samples >= len(split):
        return split
    index = torch.arange(samples)
    if split.labels is not None:
        index = torch.from_numpy(balanced_subset(split.labels.numpy(), samples, SEED))
    if split.file is None:
        return split.rows(index)
    from bench.data import decoded

    return decoded.rows(split, index)


def test_images(samples: int) -> str:
    """The test images that a `balanced_subset` takes, in words; 0: all of them."""
    return f"{samples:,} class-balanced test images{OR_FEWER}" if samples else "all test images"


def balanced_subset(labels: NDArray[np.int64], samples: int, seed: int) -> NDArray[np.int64]:
    """Indices (sorted, int64) of `samples` images with class counts that differ by at most one.

    Classes that run out give their share to the others; 0 or more than there are: all images.
    """
    import numpy as np

    if samples == 0 or samples >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    random = np.random.default_rng([seed, 0x5AB5E7])
    shuffled = random.permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sorted_labels = labels[order]
    first = np.searchsorted(sorted_labels, sorted_labels)
    rank = np.arange(len(labels)) - first  # the how-maniest of its class
    # Deal the classes in turn, in an order of its own, until there are enough.
    classes = random.permutation(int(labels.max()) + 1)
    dealt = np.lexsort((classes[sorted_labels], rank))
    return np.sort(order[dealt[:samples]]).astype(np.int64)
