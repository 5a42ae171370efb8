"""Resizing, stacking and statistics of images."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from small_sets import colour, encoded, grey

from bench.data import pixels
from bench.errors import DataError


def test_resizing_a_tensor_is_resizing_its_images() -> None:
    images = colour(3, side=20)
    stacked = pixels.resized(images.transpose(0, 3, 1, 2), 13)
    for image, small in zip(images, stacked, strict=True):
        decoded = pixels.decode(encoded(image), "x", 13)
        assert np.array_equal(small, decoded.transpose(2, 0, 1))


@pytest.mark.parametrize(("side", "target"), [(28, 14), (28, 32), (160, 128), (32, 11)])
def test_resizing_agrees_with_torch(side: int, target: int) -> None:
    images = torch.from_numpy(grey(2, side))[:, None]
    theirs = torch.nn.functional.interpolate(
        images.double(), (target, target), mode="bilinear", antialias=True, align_corners=False
    )
    ours = torch.from_numpy(pixels.resized(images.numpy(), target))
    assert float((ours - theirs).abs().max()) <= 1.5  # Pillow rounds between the two directions


def test_resizing_to_the_same_side_changes_nothing() -> None:
    images = grey(2)[:, None]
    assert pixels.resized(images, 28) is images


byte_images = arrays.arrays(
    np.uint8,
    arrays.array_shapes(min_dims=4, max_dims=4, max_side=5),
    elements=st.integers(0, 255),
)


@settings(deadline=None)
@given(byte_images)
def test_moments_are_those_of_all_pixels(images: np.ndarray) -> None:
    mean, std = pixels.moments(images)
    levels = images / 255
    assert mean == pytest.approx(levels.mean(axis=(0, 2, 3)), abs=1e-12)
    assert std == pytest.approx(np.maximum(levels.std(axis=(0, 2, 3)), 1 / 255), abs=1e-7)


def test_decoding_does_not_run_ahead_of_who_takes_the_images() -> None:
    """Or a slow disk would have them pile up in memory."""
    done: list[int] = []

    def shade(item: int) -> np.ndarray:
        done.append(item)
        return np.zeros((1, 1), np.uint8)

    images = pixels.threaded(shade, range(10_000))
    next(images)
    time.sleep(0.2)
    assert 0 < len(done) <= 11 * pixels.CHUNK
    images.close()  # type: ignore[attr-defined]
    assert len(done) < 1_000


def test_a_stack_knows_its_number() -> None:
    stack = pixels.Stack(2)
    stack.add(grey(1)[0], "one")
    with pytest.raises(ValueError, match="1 of 2 images"):
        stack.array()


def test_a_stack_of_three_channels_takes_grey() -> None:
    stack = pixels.Stack(1, channels=3)
    stack.add(grey(1)[0], "one")
    assert np.array_equal(stack.array()[0], np.stack([grey(1)[0]] * 3))


def test_threads_keep_the_order_and_pass_on_the_first_error() -> None:
    items = [*range(300)]

    def shade(item: int) -> np.ndarray:
        if item == 400:
            raise DataError("four hundred")
        return np.full((1, 1), item % 256, np.uint8)

    assert [int(each[0, 0]) for each in pixels.threaded(shade, items)] == [i % 256 for i in items]
    with pytest.raises(DataError, match="four hundred"):
        list(pixels.threaded(shade, [*items, 400, *items]))
