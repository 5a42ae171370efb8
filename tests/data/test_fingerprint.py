"""One hash for what a data set contains."""

from __future__ import annotations

from dataclasses import replace

import torch
from small_sets import tensors, toy_dataset

from bench.data.dataset import Dataset, Split
from bench.data.fingerprint import fingerprint


def changed() -> list[Dataset]:
    """The toy set with one thing changed in each."""
    toy = toy_dataset()
    pixel, labels = toy.train.images.clone(), torch.ones(6, dtype=torch.int64)
    pixel[3, 0, 2, 2] ^= 1
    reshaped = toy.train.images.reshape(6, 4, 4, 4)
    return [
        replace(toy, train=Split(pixel, toy.train.labels)),
        replace(toy, train=Split(toy.train.images, labels)),
        replace(toy, train=Split(reshaped, toy.train.labels)),
        replace(toy, test=Split(toy.test.images, None)),
        replace(toy, train=toy.test, test=toy.train),
        replace(toy, classes=("b", "a")),
        replace(toy, classes=("a", "b", "c")),
    ]


def test_it_changes_with_any_content() -> None:
    prints = [fingerprint(dataset) for dataset in (toy_dataset(), *changed())]
    assert len(set(prints)) == len(prints)


def test_it_changes_with_what_is_known_of_the_objects() -> None:
    toy = toy_dataset()
    masks = torch.zeros((len(toy.test), *toy.test.images.shape[2:]), dtype=torch.bool)
    other = masks.clone()
    other[0, 1, 1] = True
    boxes = tuple(torch.tensor([[0.0, 0.0, 1.0, 2.0]]) for _ in range(len(toy.test)))
    moved = (torch.tensor([[0.0, 0.0, 2.0, 2.0]]), *boxes[1:])
    none = (torch.zeros((0, 4)), *boxes[1:])
    tests = [
        replace(toy.test, masks=masks),
        replace(toy.test, masks=other),
        *(replace(toy.test, boxes=some) for some in (boxes, moved, none)),
        replace(toy.test, masks=masks, boxes=boxes),
    ]
    plain = fingerprint(toy)
    found = [fingerprint(replace(toy, test=test)) for test in tests]
    assert len({plain, *found}) == 1 + len(tests)
    # Runs of earlier versions have that of the images alone.
    assert all(one.startswith(f"{plain}+") for one in found)


def test_it_does_not_change_with_name_statistics_or_memory_layout() -> None:
    toy = toy_dataset()
    strided = tensors().images.transpose(2, 3).contiguous().transpose(2, 3)
    same = replace(
        toy, name="other", mean=(0.1,), std=(0.1,), train=Split(strided, toy.train.labels)
    )
    assert not same.train.images.is_contiguous()
    assert fingerprint(same) == fingerprint(toy)


def test_it_stays_what_it_was() -> None:
    """Stored results name their data by this hash: it must not move without a new version."""
    images = torch.arange(2 * 16, dtype=torch.uint8).reshape(2, 1, 4, 4)
    split = Split(images, torch.tensor([0, 1]))
    dataset = Dataset("golden", split, split, ("a", "b"), (0.5,), (0.5,))
    assert fingerprint(dataset) == (
        "84a6a5df0033e1472c4c12bbfe67108bf5fa84c1f4ea98cb68ba6a7b2dcd907c"
    )
