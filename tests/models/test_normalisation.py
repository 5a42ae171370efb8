"""Normalisation inside the network: means over the whole training set, exact and stored."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.data.dataset import Dataset, Split
from bench.errors import BenchError
from bench.models.network import Normalization, mean_image, wrap
from bench.models.predict import as_input, predictions
from bench.suite.recipe import Recipe

STD = (0.5, 0.25, 0.125)


def split(count: int, side: int, seed: int) -> Split:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    return Split.from_arrays(images, np.arange(count) % 2)


def dataset(test_side: int = 6) -> Dataset:
    return Dataset("noise", split(51, 6, 0), split(20, test_side, 1), ("a", "b"), (0.5,) * 3, STD)


def recipe(**given: Any) -> Recipe:
    return Recipe.model_validate(given)


def exact_mean(part: Split, axes: tuple[int, ...]) -> np.ndarray:
    pixels: np.ndarray = part.images.numpy().astype(np.float64) / 255
    mean: np.ndarray = pixels.mean(axes, keepdims=True)[0]
    return mean


@pytest.mark.parametrize(
    ("mean", "std", "axes"),
    [
        ("none", "none", None),
        ("per_pixel", "none", (0,)),
        ("per_channel", "none", (0, 2, 3)),
        ("per_channel", "per_channel", (0, 2, 3)),
        ("none", "per_channel", None),
    ],
)
def test_what_a_recipe_asks_for(mean: str, std: str, axes: tuple[int, ...] | None) -> None:
    data = dataset()
    network = wrap(nn.Flatten(), data, recipe(mean=mean, std=std))
    images = as_input(data.test.images, torch.device("cpu"))
    expected = data.test.images.numpy() / 255.0
    if axes is not None:
        expected = expected - exact_mean(data.train, axes)
    if std == "per_channel":
        expected = expected / np.array(STD)[:, None, None]
    np.testing.assert_allclose(network(images).numpy(), expected.reshape(20, -1), atol=1e-6)
    assert network.normalize_train is network.normalize


@pytest.mark.parametrize(("mean", "axes"), [("per_pixel", (0,)), ("per_channel", (0, 2, 3))])
@pytest.mark.parametrize("test_side", [6, 4])
def test_test_images_may_have_a_mean_of_their_own(
    mean: str, axes: tuple[int, ...], test_side: int
) -> None:
    data = dataset(test_side)
    network = wrap(nn.Flatten(), data, recipe(mean=mean, test_mean="own"))
    for found, part in ((network.normalize, data.test), (network.normalize_train, data.train)):
        np.testing.assert_allclose(found.mean.numpy(), exact_mean(part, axes), atol=1e-7)


def test_a_per_pixel_mean_of_another_size_is_refused_before_training() -> None:
    with pytest.raises(BenchError, match="6 x 6 training images does not fit 4 x 4 test images"):
        wrap(nn.Flatten(), dataset(4), recipe(mean="per_pixel"))
    wrap(nn.Flatten(), dataset(4), recipe(mean="per_channel"))


def test_the_mean_is_of_all_training_images_held_out_ones_too() -> None:
    data = dataset()
    whole = wrap(nn.Flatten(), data, recipe(mean="per_pixel", validation=0.5))
    assert torch.equal(whole.normalize.mean, mean_image(data.train.images))


@pytest.mark.parametrize("chunk", [1, 7, 51, 1000])
def test_the_mean_image_is_exact_in_chunks(chunk: int) -> None:
    images = split(51, 6, 0).images
    expected = (images.numpy().astype(np.int64).sum(0) / (255.0 * 51)).astype(np.float32)
    np.testing.assert_array_equal(mean_image(images, chunk).numpy(), expected)


def test_the_mean_of_many_bright_images_does_not_overflow() -> None:
    bright = torch.full((70_000, 1, 2, 2), 255, dtype=torch.uint8)
    assert torch.equal(mean_image(bright), torch.ones(1, 2, 2))


def test_the_mean_of_a_large_set_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.models.network._LARGE", 100)
    images = split(51, 6, 0).images
    first = mean_image(images)
    assert torch.equal(first, (images.double().sum(0) / (255.0 * 51)).float())
    with torch.device("meta"):  # where networks are looked at, there are no numbers
        assert mean_image(images).is_meta
    images.zero_()  # which nobody may do
    first.zero_()
    assert mean_image(images).any()
    assert not mean_image(images.clone()).any()


def test_normalisation_is_stored_with_the_weights_once() -> None:
    data = dataset()
    network = wrap(nn.Linear(2, 2), data, recipe(mean="per_pixel", test_mean="own"))
    assert set(network.state_dict()) == {
        "backbone.weight",
        "backbone.bias",
        "normalize.mean",
        "normalize.std",
    }
    assert not any(value.requires_grad for value in network.normalize.state_dict().values())
    twin = copy.deepcopy(network)
    twin.normalize_train.mean.zero_()
    assert network.normalize_train.mean.any()


def test_gradients_flow_through_to_the_image() -> None:
    layer = Normalization(torch.tensor([[[0.5]]]), torch.tensor([[[0.25]]]))
    image = torch.zeros(1, 1, 2, 2, requires_grad=True)
    layer(image).sum().backward()
    assert torch.equal(image.grad, torch.full((1, 1, 2, 2), 4.0))  # type: ignore[arg-type]


class Modes(nn.Module):
    """Remembers the size of each batch and whether it was in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append((len(images), self.training))
        return images.flatten(1)[:, :2]


@pytest.mark.parametrize("batch_size", [1, 6, 20, 500])
def test_predictions_come_in_order_in_eval_mode(batch_size: int) -> None:
    data = dataset()
    backbone = Modes()
    network = wrap(backbone, data, recipe()).train()
    found = predictions(network, data.test.images, torch.device("cpu"), batch_size)
    pixels = data.test.images.flatten(1)[:, :2]
    assert torch.equal(found, (pixels[:, 1] > pixels[:, 0]).long())
    assert found.dtype == torch.int64
    assert sum(size for size, _ in backbone.seen) == 20
    assert max(size for size, _ in backbone.seen) <= batch_size
    assert not any(training for _, training in backbone.seen)


def test_the_input_is_bytes_over_255() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    found = as_input(every, torch.device("cpu"))
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(
        found.numpy().ravel(), np.arange(256, dtype=np.float32) / np.float32(255)
    )
    assert every.dtype == torch.uint8
    assert int(every[0, 0, 15, 15]) == 255
