"""The training loop: its arithmetic, its result, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from train_parts import CPU, corner_set, lenet, linear, trained

from bench.data.dataset import Dataset, Split
from bench.errors import BenchError
from bench.models.network import Network, wrap
from bench.suite.recipe import Augment, Recipe
from bench.train.schedule import learning_rate
from bench.train.trainer import Epoch, TrainingDivergedError, split, train


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted: np.ndarray = np.exp(logits - logits.max(1, keepdims=True))
    shifted /= shifted.sum(1, keepdims=True)
    return shifted


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_full_batch_training_is_nesterov_sgd_by_hand(smoothing: float) -> None:
    """Keras adds lambda * sum(W^2) to the loss: weight decay of 2 lambda, on kernels only."""
    dataset = corner_set(40, side=6)
    penalty, epochs = 0.01, 10
    recipe = Recipe(
        epochs=epochs,
        batch_size=40,
        lr=0.05,
        weight_decay=2 * penalty,
        validation=0.0,
        label_smoothing=smoothing,
        precision="fp32",
    )
    network = wrap(linear(dataset), dataset, recipe)
    layer = network.backbone[1]  # type: ignore[index]
    assert dataset.train.labels is not None
    x = dataset.train.images.flatten(1).double().numpy() / 255
    y = np.eye(4)[dataset.train.labels.numpy()] * (1 - smoothing) + smoothing / 4
    w, b = (p.detach().double().numpy().copy() for p in (layer.weight, layer.bias))
    losses = []
    moves = [np.zeros_like(w), np.zeros_like(b)]
    for epoch in range(epochs):
        p = softmax(x @ w.T + b)
        losses.append(-(y * np.log(p)).sum(1).mean())
        error = (p - y) / len(x)
        gradients = [error.T @ x + 2 * penalty * w, error.sum(0)]
        for weight, move, gradient in zip((w, b), moves, gradients, strict=True):
            move *= 0.9
            move += gradient
            weight -= learning_rate(recipe, epoch, 1) * (gradient + 0.9 * move)
    found = train(network, dataset, recipe, 0, CPU).epochs
    np.testing.assert_allclose([epoch.loss for epoch in found], losses, rtol=1e-4)
    np.testing.assert_allclose(layer.weight.detach().numpy(), w, atol=1e-5)
    np.testing.assert_allclose(layer.bias.detach().numpy(), b, atol=1e-5)


def test_a_network_learns_and_reports_every_epoch() -> None:
    dataset, seen = corner_set(120), list[Epoch]()
    recipe = Recipe(epochs=6, batch_size=16, lr=0.1, bn_momentum=0.2)
    network = wrap(lenet(dataset), dataset, recipe)
    network.train()
    epochs = train(network, dataset, recipe, 0, CPU, report=seen.append).epochs
    assert tuple(seen) == epochs
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1].loss < epochs[0].loss / 2
    assert not network.training
    assert dataset.test.labels is not None
    right = network(dataset.test.images / 255).argmax(1) == dataset.test.labels
    assert right.float().mean() > 0.9


def test_the_validation_score_is_the_final_networks_on_the_held_out_images() -> None:
    dataset = corner_set(100)
    recipe = Recipe(epochs=2, batch_size=16, lr=0.01, validation=0.35, mean="per_pixel")
    network, epochs = trained(dataset, recipe, seed=5)
    held_out = split(100, 0.35, 5)[1]
    assert dataset.train.labels is not None
    labels = dataset.train.labels[held_out]
    right = network(dataset.train.images[held_out] / 255).argmax(1) == labels
    assert len(held_out) == 35
    assert epochs[-1].validation == pytest.approx(100 * float(right.sum()) / 35)
    assert 0 < float(right.sum()) < 35, "a score that shows something"


def test_held_out_images_are_not_trained_on() -> None:
    dataset = corner_set(40, side=6)
    recipe = Recipe(epochs=1, batch_size=40, lr=0.1, validation=0.25)
    results = []
    for brightness in (0, 255):
        images = dataset.train.images.clone()
        images[split(40, 0.25, 0)[1]] = brightness
        changed = replace(dataset, train=Split(images, dataset.train.labels))
        torch.manual_seed(0)
        network = wrap(linear(changed), changed, recipe)
        train(network, changed, recipe, 0, CPU)
        results.append(network.backbone[1].weight)  # type: ignore[index]
    assert torch.equal(results[0], results[1])


class Seen(nn.Module):
    """Keeps every batch it is given, and answers the brightest quarter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.train_batches: list[Tensor] = []
        self.eval_batches: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        (self.train_batches if self.training else self.eval_batches).append(images.detach().clone())
        quarters = nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 2)
        return quarters.flatten(1) * self.scale


def test_validation_of_cropped_training_uses_the_middle() -> None:
    dataset = corner_set(20, side=13)
    recipe = Recipe(epochs=1, batch_size=4, validation=0.5, augment=Augment(crop=8))
    network = wrap(Seen(), dataset, recipe)
    train(network, dataset, recipe, 0, CPU)
    seen: Seen = network.backbone  # type: ignore[assignment]
    assert {tuple(batch.shape[2:]) for batch in seen.train_batches} == {(8, 8)}
    middle = dataset.train.images[split(20, 0.5, 0)[1]][:, :, 2:10, 2:10] / 255
    assert torch.equal(torch.cat(seen.eval_batches), middle)


def test_validation_of_padded_crops_uses_the_whole_image() -> None:
    dataset = corner_set(20, side=8)
    recipe = Recipe(epochs=1, validation=0.5, augment=Augment(crop=8, crop_padding=2))
    network = wrap(Seen(), dataset, recipe)
    epochs = train(network, dataset, recipe, 0, CPU).epochs
    seen: Seen = network.backbone  # type: ignore[assignment]
    assert torch.equal(
        torch.cat(seen.eval_batches), dataset.train.images[split(20, 0.5, 0)[1]] / 255
    )
    assert epochs[-1].validation == 100.0


def test_every_epoch_shows_every_training_image_once_in_a_new_order() -> None:
    dataset = corner_set(30, side=8)
    recipe = Recipe(epochs=3, batch_size=8, validation=0.1)
    network = wrap(Seen(), dataset, recipe)
    train(network, dataset, recipe, 0, CPU)
    seen: Seen = network.backbone  # type: ignore[assignment]
    assert [len(batch) for batch in seen.train_batches] == [8, 8, 8, 3] * 3
    kept = dataset.train.images[split(30, 0.1, 0)[0]].float() / 255
    orders = []
    for epoch in range(3):
        shown = torch.cat(seen.train_batches[4 * epoch : 4 * epoch + 4]).flatten(1)
        order = (shown[:, None] == kept.flatten(1)[None]).all(2).float().argmax(1)
        assert torch.equal(order.sort().values, torch.arange(27))
        orders.append(tuple(order.tolist()))
    assert len(set(orders)) == 3


def test_a_rest_of_one_image_is_left_out() -> None:
    dataset = corner_set(9, side=8)
    recipe = Recipe(epochs=1, batch_size=4, validation=0.0)
    network = wrap(Seen(), dataset, recipe)
    epochs = train(network, dataset, recipe, 0, CPU).epochs
    seen: Seen = network.backbone  # type: ignore[assignment]
    assert [len(batch) for batch in seen.train_batches] == [4, 4]
    assert epochs[0].validation is None


def test_images_are_normalised_before_they_are_augmented() -> None:
    """Cropping pads with zeros that stand for the mean."""
    dataset = corner_set(16, side=8)
    padded = Augment(crop=12, crop_padding=2)
    recipe = Recipe(epochs=1, mean="per_channel", augment=padded, validation=0.0)
    network = wrap(Seen(), dataset, recipe)
    train(network, dataset, recipe, 0, CPU)
    seen: Seen = network.backbone  # type: ignore[assignment]
    frame = seen.train_batches[0].clone()
    assert abs(float(frame[:, :, 2:10, 2:10].mean())) < 1e-5
    frame[:, :, 2:10, 2:10] = 0
    assert not frame.any()


def test_the_smallest_set_trains() -> None:
    dataset = corner_set(3, side=8)
    network = wrap(lenet(dataset), dataset, Recipe())
    epochs = train(network, dataset, Recipe(epochs=2, batch_size=128), 0, CPU).epochs
    assert len(epochs) == 2
    with pytest.raises(BenchError, match=r"corners: validation: 0\.1 leaves 1 of 2 training"):
        train(network, corner_set(2, side=8), Recipe(epochs=1), 0, CPU)


@pytest.mark.parametrize("parameters", ["frozen", "none"])
def test_a_network_with_nothing_to_train_is_told(parameters: str) -> None:
    dataset, recipe = corner_set(), Recipe(epochs=1)
    backbone: nn.Module = linear(dataset).requires_grad_(False)
    if parameters == "none":
        backbone = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    with pytest.raises(BenchError, match=r"no parameter that is to be trained .*`weights: FILE`"):
        train(wrap(backbone, dataset, recipe), dataset, recipe, 0, CPU)


def test_training_needs_labels() -> None:
    dataset = corner_set(10, side=8)
    unlabelled = replace(dataset, train=Split(dataset.train.images, None))
    with pytest.raises(BenchError, match="corners: has no training labels"):
        train(wrap(linear(dataset), dataset, Recipe()), unlabelled, Recipe(), 0, CPU)


class BreaksAt(nn.Module):
    """Answers NaN or infinity from the given training batch on."""

    def __init__(self, inner: nn.Module, batch: int, value: float) -> None:
        super().__init__()
        self.inner, self.left, self.value = inner, batch, value

    def forward(self, images: Tensor) -> Tensor:
        self.left -= self.training
        logits: Tensor = self.inner(images)
        return logits * self.value if self.left < 0 else logits


@pytest.mark.parametrize(("value", "shown"), [(float("nan"), "nan"), (float("inf"), "(nan|inf)")])
@pytest.mark.parametrize(("batch", "epoch"), [(0, 1), (3, 1), (4, 2), (9, 3)])
def test_divergence_is_found_in_its_epoch(value: float, shown: str, batch: int, epoch: int) -> None:
    dataset, seen = corner_set(32, side=6), list[Epoch]()
    recipe = Recipe(epochs=5, batch_size=8, validation=0.0)
    network = wrap(BreaksAt(linear(dataset), batch, value), dataset, recipe)
    message = f"diverged: the training loss is {shown} in epoch {epoch} of 5; lower the learning"
    with pytest.raises(TrainingDivergedError, match=message):
        train(network, dataset, recipe, 0, CPU, report=seen.append)
    assert [done.number for done in seen] == list(range(1, epoch))


class Steep(nn.Linear):
    """Gradients a thousand times larger than those of a linear layer."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(1000 * images.flatten(1))


def test_divergence_by_the_very_last_update_is_found() -> None:
    dataset = corner_set(32, side=6)
    recipe = Recipe(epochs=1, batch_size=32, validation=0.0, lr=3e38, schedule="constant")
    network = wrap(Steep(36, 4), dataset, recipe)
    message = re.escape("diverged: the weights are not finite in epoch 1 of 1")
    with pytest.raises(TrainingDivergedError, match=message):
        train(network, dataset, recipe, 0, CPU)


class Far(nn.Sequential):
    """In training it sees images whose variance is no float32."""

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = super().forward(images * 3e20 if self.training else images)
        return logits


def test_statistics_that_overflow_are_found_though_the_loss_is_finite() -> None:
    """Batch normalisation hides from the loss how large its input has become."""
    dataset = corner_set(32, side=6)
    recipe = Recipe(epochs=2, batch_size=16, validation=0.0)
    network = wrap(Far(nn.BatchNorm2d(1), *linear(dataset)), dataset, recipe)  # type: ignore[misc]
    message = re.escape("diverged: the statistics of batch normalisation are not finite in epoch 1")
    with pytest.raises(TrainingDivergedError, match=message):
        train(network, dataset, recipe, 0, CPU)


class NoSlope(nn.Linear):
    """A loss that is finite, with gradients that are not, from a step on."""

    def __init__(self, dataset: Dataset, first: int) -> None:
        super().__init__(dataset.channels * dataset.image_size**2, dataset.num_classes)
        self.left = first

    def forward(self, images: Tensor) -> Tensor:
        self.left -= self.training
        nothing = 0 * self.bias.sum()
        return super().forward(images.flatten(1)) + (nothing.sqrt() if self.left < 0 else nothing)


@pytest.mark.parametrize(("first", "epoch"), [(0, 3), (8, 4), (11, 4), (30, 6)])
def test_steps_that_fp16_leaves_out_for_ever_are_found(first: int, epoch: int) -> None:
    dataset = corner_set(64, side=6)
    recipe = Recipe(epochs=9, batch_size=8, validation=0.0, precision="fp16")
    network = wrap(NoSlope(dataset, first), dataset, recipe)
    message = re.escape(f"diverged: the gradients are not finite in epoch {epoch} of 9")
    with pytest.raises(TrainingDivergedError, match=message):
        train(network, dataset, recipe, 0, CPU)


def test_a_training_of_which_fp16_leaves_out_every_step_is_none() -> None:
    dataset = corner_set(64, side=6)
    recipe = Recipe(epochs=2, batch_size=32, validation=0.0, precision="fp16")
    network = wrap(NoSlope(dataset, 0), dataset, recipe)
    message = (
        r"fp16: the gradients of all 4 steps overflowed, .*; train for more steps, or set prec"
    )
    with pytest.raises(TrainingDivergedError, match=message):
        train(network, dataset, recipe, 0, CPU)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_precisions_and_memory_formats_train_alike(precision: str, channels_last: bool) -> None:
    dataset = corner_set(64)
    plain = {"epochs": 3, "batch_size": 16, "lr": 0.05, "bn_momentum": 0.2}
    plain |= {"precision": "fp32", "channels_last": False}
    reference, expected = trained(dataset, Recipe.model_validate(plain))
    options = {**plain, "precision": precision, "channels_last": channels_last}
    network, epochs = trained(dataset, Recipe.model_validate(options))
    assert [e.loss for e in epochs] == pytest.approx([e.loss for e in expected], rel=0.1)
    for name, value in network.state_dict().items():
        assert value.dtype == reference.state_dict()[name].dtype, name
        if value.ndim == 4:
            layout = torch.channels_last if channels_last else torch.contiguous_format
            assert value.is_contiguous(memory_format=layout), name
    if precision != "fp32":
        assert epochs[-1].loss != expected[-1].loss, "autocast was on"


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_forward_pass_runs_in_the_recipes_precision(precision: str) -> None:
    class Typed(nn.Linear):
        kinds: set[torch.dtype]

        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images.flatten(1))
            if self.training:
                self.kinds.add(logits.dtype)
            return logits

    dataset = corner_set(16, side=6)
    layer = Typed(36, 4)
    layer.kinds = set()
    recipe = Recipe.model_validate({"epochs": 1, "precision": precision})
    train(Network(layer, *[wrap(layer, dataset, recipe).normalize] * 2), dataset, recipe, 0, CPU)
    assert layer.kinds == {{"bf16": torch.bfloat16, "fp16": torch.float16}[precision]}
    assert layer.weight.dtype == torch.float32


def test_bn_momentum_is_set_only_where_the_recipe_says_so() -> None:
    dataset = corner_set(16)
    for wanted, expected in ((None, 0.01), (0.3, 0.3)):
        network = wrap(lenet(dataset), dataset, Recipe())
        train(network, dataset, Recipe(epochs=1, bn_momentum=wanted), 0, CPU)
        found = {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)}
        assert found == {expected}


def test_logits_in_a_tuple_are_told_and_not_trained_on() -> None:
    """As networks with auxiliary heads return them, in training mode only."""

    class Auxiliary(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = super().forward(images)
            return [logits, logits] if self.training else logits  # type: ignore[return-value]

    dataset = corner_set(20)
    recipe = Recipe(epochs=1, batch_size=10, validation=0.0)
    network = wrap(Auxiliary(*linear(dataset).children()), dataset, recipe)
    with pytest.raises(BenchError, match=r"returns a list of 2 in training mode, .*return the log"):
        train(network, dataset, recipe, 0, CPU)
