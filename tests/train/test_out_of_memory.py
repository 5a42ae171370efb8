"""Memory that runs out: in training a batch is divided or refused, in prediction it is halved."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn
from train_parts import CPU, corner_set, lenet

from bench.models.network import Network, wrap
from bench.models.predict import predictions
from bench.store.outcome import error_text
from bench.suite.recipe import Augment, Recipe
from bench.train.step import TrainingMemoryError
from bench.train.trainer import train


class Small(nn.Module):
    """Has memory for `limit` images at once."""

    says = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    def __init__(self, inner: nn.Module, limit: int) -> None:
        super().__init__()
        self.inner, self.limit = inner, limit
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.limit:
            raise self.says
        self.seen.append(len(images))
        logits: Tensor = self.inner(images)
        return logits


def plain(side: int = 8) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.GroupNorm(2, 6), nn.ReLU(), nn.Flatten(),
        nn.Linear(6 * (side - 2) ** 2, 4),
    )  # fmt: skip


RECIPE = Recipe(
    epochs=2, batch_size=12, lr=0.05, weight_decay=1e-3, label_smoothing=0.1, validation=0.1,
    augment=Augment(shift=0.1, flip=0.5), precision="fp32",
)  # fmt: skip


def after(limit: int) -> tuple[Network, list[int], dict[str, object]]:
    dataset = corner_set(40, side=8)
    network = wrap(Small(plain(), limit), dataset, RECIPE)
    history = train(network, dataset, RECIPE, 0, CPU)
    return network, network.backbone.seen, dict(history.facts)  # type: ignore[return-value]


def test_a_divided_batch_is_the_same_step() -> None:
    whole, seen, facts = after(limit=100)
    assert "parts" not in facts
    assert set(seen) == {12, 4}  # three batches an epoch; four images are held out
    divided, seen, facts = after(limit=4)
    assert facts["parts"] == 4
    assert max(seen) <= 4
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(divided.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_batch_normalisation_is_not_divided() -> None:
    dataset = corner_set(40)
    network = wrap(Small(lenet(dataset), 6), dataset, RECIPE)
    message = re.escape("out of memory on cpu with batch_size 12; in halves, batch norm")
    with pytest.raises(TrainingMemoryError, match=message) as caught:
        train(network, dataset, RECIPE, 0, CPU)
    text = str(caught.value)
    assert "lower batch_size" in text
    assert "\n" not in text
    assert error_text(type(caught.value).__name__, text) == text, "one of our own errors"


@pytest.mark.parametrize("limit", [1, 2])
def test_a_batch_is_divided_down_to_single_images(limit: int) -> None:
    """Twelve images in eight parts are pairs still: it goes on to as many parts as images."""
    whole = after(limit=100)[0]
    divided, seen, facts = after(limit)
    assert max(seen) == limit
    assert facts["parts"] == {1: 12, 2: 8}[limit]
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(divided.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_an_image_that_does_not_fit_alone_is_refused() -> None:
    dataset = corner_set(40, side=8)
    network = wrap(Small(plain(), 0), dataset, RECIPE)
    with pytest.raises(TrainingMemoryError, match="even image by image"):
        train(network, dataset, RECIPE, 0, CPU)


def test_other_errors_of_a_step_are_told_as_they_are() -> None:
    class Wrong(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("shapes cannot be multiplied")

    dataset, network = corner_set(20), wrap(plain(), corner_set(20), RECIPE)
    network.backbone = nn.Sequential(network.backbone, Wrong())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train(network, dataset, RECIPE, 0, CPU)


def test_predictions_halve_their_batches_and_miss_nothing() -> None:
    dataset = corner_set(50, side=8)
    images = dataset.train.images
    expected = predictions(wrap(Small(plain(), 100), dataset, RECIPE), images, CPU)
    network = wrap(Small(plain(), 7), dataset, RECIPE)
    assert torch.equal(predictions(network, images, CPU, batch_size=32), expected)
    assert network.backbone.seen == [4] * 12 + [2]
    with pytest.raises(torch.cuda.OutOfMemoryError):
        predictions(wrap(Small(plain(), 0), dataset, RECIPE), images, CPU)


# As libtorch_cuda of 2.14 has them.
OF_CUDA = (
    torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation'"),
    RuntimeError("FIND was unable to find an engine to execute this computation"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    # As libcudnn of 9.24 has them.
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
)


@pytest.mark.parametrize("error", OF_CUDA, ids=str)
def test_a_batch_is_halved_whichever_library_lacks_the_memory(
    error: RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Small, "says", error)
    dataset = corner_set(50, side=8)
    network = wrap(Small(plain(), 7), dataset, RECIPE)
    predictions(network, dataset.train.images, CPU, batch_size=32)
    assert max(network.backbone.seen) == 4
