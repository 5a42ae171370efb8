"""Augmentation, image by image against numpy and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from train_parts import ramps

from bench.suite.recipe import Augment
from bench.train.augment import augment


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, channels: int = 3, height: int = 10, width: int = 10) -> Tensor:
    return torch.rand(count, channels, height, width, generator=source(99))


def shifts_of(moved: Tensor) -> np.ndarray:
    """How far (rows, columns) each image of `ramps` was moved: read off its middle pixel."""
    row, column = moved.shape[2] // 2, moved.shape[3] // 2
    middle = moved[:, :2, row, column].double().numpy()
    return np.stack([row - middle[:, 1], column - middle[:, 0]], 1)


@pytest.mark.parametrize(("height", "width", "share"), [(32, 32, 0.1), (28, 20, 0.25), (9, 16, 0)])
def test_shift_is_scipys_bilinear_shift_with_repeated_edges(
    height: int, width: int, share: float
) -> None:
    images = ramps(24, height, width)
    moved = augment(images, Augment(shift=share), source())
    for image, result, offset in zip(images, moved, shifts_of(moved), strict=True):
        for channel, found in zip(image.numpy(), result.numpy(), strict=True):
            expected = scipy.ndimage.shift(
                channel.astype(np.float64), offset, order=1, mode="nearest"
            )
            np.testing.assert_allclose(found, expected, atol=3e-5 * width)


def test_shifts_fill_the_range_evenly_and_independently() -> None:
    height, width, share = 20, 40, 0.1
    offsets = shifts_of(augment(ramps(3000, height, width), Augment(shift=share), source(3)))
    for axis, side in ((0, height), (1, width)):
        assert np.abs(offsets[:, axis]).max() <= share * side + 1e-4
        even = scipy.stats.uniform(-share * side, 2 * share * side)
        assert scipy.stats.kstest(offsets[:, axis], even.cdf).pvalue > 0.01
    assert abs(np.corrcoef(offsets.T)[0, 1]) < 0.05
    assert np.abs(offsets - offsets.round()).max() > 0.4, "not only whole pixels"


def test_flip_mirrors_columns_of_a_share_of_the_images() -> None:
    images = noise(2000, 1, 3, 4)
    flipped = augment(images, Augment(flip=0.3), source())
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    untouched = (flipped == images).flatten(1).all(1)
    assert (mirrored ^ untouched).all()
    assert 0.27 < float(mirrored.float().mean()) < 0.33


@pytest.mark.parametrize(("probability", "mirrored"), [(0.0, False), (1.0, True)])
def test_certain_flips(probability: float, mirrored: bool) -> None:
    images = noise(50)
    found = augment(images, Augment(flip=probability), source())
    assert torch.equal(found, images.flip(3) if mirrored else images)


@pytest.mark.parametrize("padding", [0, 2])
def test_crop_cuts_every_window_of_the_zero_padded_image(padding: int) -> None:
    images = ramps(400, 7, 8) + 1  # so that no pixel of an image is zero
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    cut = augment(images, Augment(crop=5, crop_padding=padding), source()).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(2, 3))
    where = set()
    for number, result in enumerate(cut):
        fits = (windows[number] == result[:, None, None]).all((0, 3, 4))
        assert fits.sum() == 1
        where.add(tuple(np.argwhere(fits)[0]))
    assert len(where) == (7 + 2 * padding - 4) * (8 + 2 * padding - 4)


def test_the_papers_imagenette_crop() -> None:
    assert augment(noise(2, 3, 156, 156), Augment(crop=128), source()).shape == (2, 3, 128, 128)


def test_a_crop_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="crop: 11 is larger than the 10 x 10"):
        augment(noise(2), Augment(crop=11), source())


def principal(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standard deviation, eigenvalues and eigenvectors of one image's colours, by numpy's SVD."""
    colours = image.reshape(image.shape[0], -1).astype(np.float64)
    std = colours.std(1)
    standard = (colours - colours.mean(1, keepdims=True)) / std[:, None]
    vectors, values, _ = np.linalg.svd(standard @ standard.T / colours.shape[1])
    return std, values, vectors


def test_pca_jitter_moves_along_each_images_own_colour_axes() -> None:
    random = np.random.default_rng(0)
    mixes = random.normal(size=(400, 3, 3)).astype(np.float32)
    images = torch.from_numpy(mixes) @ torch.randn(400, 3, 256, generator=source())
    images = images.reshape(400, 3, 16, 16)
    moved = (augment(images, Augment(pca_jitter=0.1), source()) - images).numpy()
    alphas = []
    for image, delta in zip(images.numpy(), moved, strict=True):
        std, values, vectors = principal(image)
        colour = delta.mean((1, 2))
        np.testing.assert_allclose(
            delta, np.broadcast_to(colour[:, None, None], (3, 16, 16)), 0, 1e-4
        )
        strong = values > 0.05
        alphas.append((vectors.T @ (colour / std) / values)[strong])
    found = np.concatenate(alphas)
    assert scipy.stats.kstest(found, scipy.stats.norm(0, 0.1).cdf).pvalue > 0.01


def test_pca_jitter_does_not_depend_on_the_sign_of_eigenvectors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = noise(20)
    expected = augment(images, Augment(pca_jitter=0.1), source())
    decompose = torch.linalg.eigh

    def mirrored(matrices: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = decompose(matrices)
        return values, -vectors

    monkeypatch.setattr(torch.linalg, "eigh", mirrored)
    assert torch.equal(augment(images, Augment(pca_jitter=0.1), source()), expected)


def test_pca_jitter_leaves_an_image_of_one_colour_alone() -> None:
    flat = torch.full((2, 3, 6, 6), 0.3)
    assert torch.equal(augment(flat, Augment(pca_jitter=0.5), source()), flat)


EVERYTHING = Augment(shift=0.1, flip=0.5, crop=8, crop_padding=1, pca_jitter=0.1)


def test_all_of_it_comes_from_the_generator_alone() -> None:
    images, before = noise(40), torch.get_rng_state()
    kept = images.clone()
    first = augment(images, EVERYTHING, source(5))
    torch.manual_seed(123)
    second = augment(images, EVERYTHING, source(5))
    torch.set_rng_state(before)
    augment(images, EVERYTHING, source(5))
    assert torch.equal(first, second)
    assert torch.equal(images, kept), "the images given are not written into"
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, augment(images, EVERYTHING, source(6)))


def test_every_image_has_draws_of_its_own() -> None:
    alike = noise(1).expand(30, 3, 10, 10)
    for settings in (Augment(shift=0.2), Augment(crop=5), Augment(pca_jitter=0.1)):
        found = augment(alike, settings, source())
        assert len(torch.unique(found, dim=0)) > 15, settings


def test_no_settings_change_nothing() -> None:
    images = noise(4)
    assert torch.equal(augment(images, Augment(), source()), images)


class Copies(TorchDispatchMode):
    """Collects the copies from the host to another device, and whether the host waits."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits: list[bool] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        to_device = torch.device(given.get("device") or "cpu").type == "meta"
        if func is torch.ops.aten._to_copy.default and to_device and args[0].device.type == "cpu":
            self.waits.append(not given.get("non_blocking", False))
        return func(*args, **given)


def test_draws_go_to_the_device_without_the_host_waiting() -> None:
    with Copies() as copies:
        found = augment(noise(6).to("meta", non_blocking=True), EVERYTHING, source())
    assert found.shape == (6, 3, 8, 8)
    assert len(copies.waits) == 1 + 5, "the images, then five kinds of draws"
    assert not any(copies.waits)
