"""Shifts and rotations against scipy, and the order in which they are tried."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.ndimage
import torch
from attack_parts import Logits, contrast, images, problem
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench.attacks import shifts, spatial
from bench.attacks.transforms import rotation, shift_matrix

SIDES = st.integers(2, 24)


def moved(image: Tensor, down: float, right: float, angle: float) -> np.ndarray:
    """One image C x H x W by scipy, as the definition says."""
    turned = scipy.ndimage.rotate(image.numpy(), angle=angle, axes=(1, 2), reshape=True, order=1)
    placed = scipy.ndimage.shift(turned, shift=(0, down, right), mode="constant")
    height, width = image.shape[1:]
    top, left = (placed.shape[1] - height) // 2, (placed.shape[2] - width) // 2
    cut: np.ndarray = np.clip(placed[:, top : top + height, left : left + width], 0, 1)
    return cut


@settings(deadline=None)
@given(height=SIDES, width=SIDES, angle=st.floats(-180, 180))
def test_rotations_are_scipys(height: int, width: int, angle: float) -> None:
    image = images(1, 2, height, width)
    expected = scipy.ndimage.rotate(image.numpy(), angle, axes=(2, 3), reshape=True, order=1)
    np.testing.assert_allclose(rotation(height, width, angle)(image), expected, atol=1e-6)


@settings(deadline=None)
@given(size=SIDES, shift=st.floats(-7, 7), more=st.integers(0, 3))
def test_shifts_are_scipys(size: int, shift: float, more: int) -> None:
    line = images(1, 1, size + more, 1)[0, 0].double().numpy()
    expected = scipy.ndimage.shift(line, (shift, 0), order=3, mode="constant")[more // 2 :][:size]
    found = shift_matrix(size, size + more, shift).double().numpy() @ line
    np.testing.assert_allclose(found, expected, atol=1e-6)


def one_by_one(
    clean: Tensor, logits: Logits, shifts_: list[float], angles: list[float], best: bool
) -> tuple[list[np.ndarray], list[int]]:
    """Each image by itself: the first hit, or the closest, and how many candidates it took."""
    found, spent = [], []
    for image in clean:
        label = int(logits(image[None]).argmax())
        kept, distance, tries = image.numpy(), np.inf, 0
        for down, right, angle in product(shifts_, shifts_, angles):
            candidate = moved(image, down, right, angle)
            l2 = np.linalg.norm((candidate - image.numpy()).astype(float))
            if best and l2 >= distance:
                continue
            tries += 1
            if int(logits(torch.from_numpy(candidate)[None]).argmax()) != label:
                kept, distance = candidate, l2
                if not best:
                    break
        found.append(kept)
        spent.append(tries)
    return found, spent


@pytest.mark.parametrize("search", ["first", "best"])
@pytest.mark.parametrize("shape", [(1, 9, 9), (3, 8, 11), (1, 14, 6)])
def test_results_are_those_of_one_image_at_a_time(
    shape: tuple[int, int, int], search: spatial.Search
) -> None:
    clean = 0.5 + (images(8, *shape) - 0.5) * torch.linspace(0.4, 1.0, 8)[:, None, None, None]
    logits = contrast(0.26)
    turned, flat = problem(clean, logits), problem(clean, logits)
    found = spatial.run(turned, points=4, max_shift=3.0, max_angle=10.0, search=search)
    grid, angles = np.linspace(-3, 3, 4).tolist(), np.linspace(-10, 10, 4).tolist()
    expected, spent = one_by_one(clean, logits, grid, angles, search == "best")
    np.testing.assert_allclose(found.numpy(), np.stack(expected), atol=2e-6)
    assert turned.evaluations.tolist() == spent
    assert len(set(spent)) > 2
    found = shifts.run(flat, points=4, max_shift=3.0, search=search)
    expected, spent = one_by_one(clean, logits, grid, [0.0], search == "best")
    np.testing.assert_allclose(found.numpy(), np.stack(expected), atol=2e-6)
    assert flat.evaluations.tolist() == spent


def test_the_best_is_no_farther_than_the_first() -> None:
    clean, logits = 0.2 + 0.6 * images(12), contrast(0.2)
    first, best = problem(clean, logits), problem(clean, logits)
    spatial.run(first, points=4, search="first")
    spatial.run(best, points=4, search="best")
    assert (best.distance <= first.distance).all()
    assert (best.distance < first.distance).any()


def test_large_images_are_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    clean, logits = 0.2 + 0.6 * images(7), contrast(0.2)
    whole = problem(clean, logits)
    expected = spatial.run(whole, points=4)
    monkeypatch.setattr(spatial, "HELD", 2 * 4 * 64)
    parts = problem(clean, logits)
    torch.testing.assert_close(spatial.run(parts, points=4), expected, atol=1e-6, rtol=0)
    assert parts.evaluations.tolist() == whole.evaluations.tolist()
