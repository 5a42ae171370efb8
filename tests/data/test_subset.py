"""Parts of data sets: balanced, sorted, the same for every network."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.data import catalog
from bench.data.subset import balanced_subset
from bench.errors import DataError

LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=200).map(np.array)
SEEDS = st.integers(0, 2**31 - 1)


@given(labels=LABELS, samples=st.integers(0, 250), seed=SEEDS)
def test_properties(labels: np.ndarray, samples: int, seed: int) -> None:
    index = balanced_subset(labels, samples, seed)
    assert index.dtype == np.int64
    assert len(index) == (min(samples, len(labels)) or len(labels))
    assert np.array_equal(index, np.unique(index)), "sorted, each once"
    assert index.min() >= 0
    assert index.max() < len(labels)
    assert np.array_equal(index, balanced_subset(labels, samples, seed))
    there, chosen = Counter(labels.tolist()), Counter(labels[index].tolist())
    most = max(chosen.values())
    for label, count in there.items():
        # A class has at most one fewer than another, unless it has no more to give.
        assert chosen[label] >= min(count, most - 1)


@given(seed=SEEDS, samples=st.integers(1, 100))
def test_balanced_classes_give_the_same(seed: int, samples: int) -> None:
    labels = np.arange(1000) % 10
    counts = np.bincount(labels[balanced_subset(labels, samples, seed)], minlength=10)
    assert counts.max() - counts.min() <= 1
    assert (counts.max() == counts.min()) == (samples % 10 == 0)


@given(labels=LABELS, seed=SEEDS, sizes=st.tuples(st.integers(1, 200), st.integers(1, 200)))
def test_a_smaller_subset_is_part_of_a_larger_one(
    labels: np.ndarray, seed: int, sizes: tuple[int, int]
) -> None:
    small, large = (set(balanced_subset(labels, size, seed).tolist()) for size in sorted(sizes))
    assert small <= large


def test_seeds_draw_differently_and_evenly() -> None:
    labels = np.arange(100) % 5
    drawn = [balanced_subset(labels, 10, seed) for seed in range(300)]
    assert len({tuple(index) for index in drawn}) == 300
    often = np.bincount(np.concatenate(drawn), minlength=100)
    assert often.min() > 10
    assert often.max() < 55


def test_which_class_gets_the_odd_one_is_drawn_too() -> None:
    labels = np.arange(50) % 5
    first = {int(labels[balanced_subset(labels, 1, seed)[0]]) for seed in range(60)}
    assert first == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("samples", [0, 7, 8, 1000])
def test_all_of_them(samples: int) -> None:
    labels = np.array([0, 0, 0, 1, 2, 2, 9])
    assert balanced_subset(labels, samples, 3).tolist() == list(range(7))


def test_any_data_set_can_be_used_in_part() -> None:
    options = {"train_samples": 120, "test_samples": 30}
    part = catalog.load("fashion-mnist-mini", root=Path(), **options)
    assert (len(part.train), len(part.test)) == (120, 30)
    for split, count in ((part.train, 12), (part.test, 3)):
        assert split.labels is not None
        assert split.labels.bincount().tolist() == [count] * 10
    again = catalog.load("fashion-mnist-mini", root=Path(), **options)
    assert torch.equal(part.train.images, again.train.images)
    info = catalog.info("fashion-mnist-mini", options)
    assert info is not None
    assert (info.train_samples, info.test_samples) == (120, 30)
    whole = catalog.load("fashion-mnist-mini", root=Path())
    assert part.mean == whole.mean
    assert len(catalog.load("fashion-mnist-mini", root=Path(), train_samples=4000).train) == 4000


@pytest.mark.parametrize(("key", "there"), [("train_samples", 4000), ("test_samples", 1000)])
def test_more_images_than_there_are_are_refused(key: str, there: int) -> None:
    with pytest.raises(DataError, match=f"'fashion-mnist-mini': option '{key}': {there + 1:,} is"):
        catalog.load("fashion-mnist-mini", root=Path(), **{key: there + 1})  # type: ignore[arg-type]
    assert f"({there:,} " in str(catalog.validate("fashion-mnist-mini", {key: there + 1}))
    assert catalog.validate("fashion-mnist-mini", {key: there}) is None


@pytest.mark.parametrize("key", ["train_samples", "test_samples"])
def test_fewer_images_than_classes_are_refused(key: str) -> None:
    with pytest.raises(DataError, match=f"option '{key}': 9 is too few for 10 classes; "):
        catalog.load("fashion-mnist-mini", root=Path(), **{key: 9})  # type: ignore[arg-type]
    assert "1 is too few" in str(catalog.validate("fashion-mnist-mini", {key: 1}))
    assert catalog.validate("fashion-mnist-mini", {key: 10}) is None
    part = catalog.load("fashion-mnist-mini", root=Path(), **{key: 10})  # type: ignore[arg-type]
    labels = (part.train if key == "train_samples" else part.test).labels
    assert labels is not None
    assert sorted(labels.tolist()) == list(range(10))


@pytest.mark.parametrize("value", [0, -3, 1.5, "10", True, None])
def test_a_part_is_a_whole_number_of_images(value: object) -> None:
    reason = catalog.validate("fashion-mnist-mini", {"train_samples": value})
    assert reason is not None
    assert "train_samples" in reason
    assert "positive whole number of images" in reason
