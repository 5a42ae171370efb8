"""The training loop: no host synchronisation within an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.models.grouped import grouped_in_fp32
from bench.models.memory import in_batches_that_fit
from bench.models.network import Network
from bench.models.predict import classes
from bench.models.settings import autocast, settle
from bench.suite.recipe import Recipe
from bench.train.determinism import reproducible_threads, unfilled
from bench.train.schedule import learning_rate
from bench.train.step import Step


class TrainingDivergedError(BenchError):
    """Something became NaN or infinite; the message says what, and in which epoch."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch showed: mean training loss, validation top-1 (percent; None without split)."""

    number: int
    loss: float
    validation: float | None


@dataclass(frozen=True, slots=True)
class History:
    """A finished training: its epochs, and how it computed (`facts`, plain data: mode, precision,
    memory format, whether its steps were a CUDA graph, CPU threads)."""

    epochs: tuple[Epoch, ...]
    facts: Mapping[str, Any]


# Chance is the logarithm of the number of classes, 7 for a thousand; from here nothing returns.
HOPELESS = 1e6

Report = Callable[[Epoch], None]


def train(
    network: Network,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    report: Report = lambda epoch: None,
    resident: bool | None = None,
) -> History:
    """Train `network` in place and leave it in eval mode, in the training's memory format;
    return what happened.

    The split, the order of images and the augmentation come from generators keyed by `seed`.
    The last epoch's network is the result: no early stopping, no best-of (as in the paper).
    `resident` says whether all images are put on the device; None: if they fit there.

    Raises:
        TrainingDivergedError: the loss, the weights, the statistics of batch normalisation or, in
            fp16, all gradients of an epoch are no longer finite.
        TrainingMemoryError: a batch does not fit into memory.
        BenchError: too few images for a batch and a validation split, or nothing to train.
    """
    if dataset.train.labels is None:
        raise BenchError(f"{dataset.name}: has no training labels")
    require_enough(dataset, recipe.validation)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise BenchError(
            "the network has no parameter that is to be trained (none at all, or all are frozen); "
            "let some have requires_grad, or measure it as it is, with `weights: FILE`"
        )
    train_index, validation_index = split(len(dataset.train), recipe.validation, seed)
    if recipe.bn_momentum is not None:
        set_bn_momentum(network, recipe.bn_momentum)
    settings = settle(recipe, device, network.backbone)
    network.to(device)
    network.to(memory_format=settings.memory_format)
    network.normalize_train.to(device)
    random = torch.Generator().manual_seed(_stream(seed, 3))
    step = Step(network, dataset.train, recipe, settings, device, random, resident)
    order = torch.Generator().manual_seed(_stream(seed, 2))
    epochs: list[Epoch] = []
    with (
        reproducible_threads(settings.mode, device),
        unfilled(settings.known_code),
        grouped_in_fp32(network, settings, device),
    ):
        threads, scales = torch.get_num_threads(), [step.loss_scale]
        for number in range(1, recipe.epochs + 1):
            network.train()
            shuffled = train_index[torch.randperm(len(train_index), generator=order)]
            shuffled = shuffled.to(step.images.home)
            loss = _epoch(step, _batches(shuffled, recipe.batch_size), number, scales)
            network.eval()
            score = _score(step, validation_index)
            epochs.append(Epoch(number, loss, score))
            report(epochs[-1])
    _require_any(step, scales, recipe.epochs * steps_per_epoch(len(dataset.train), recipe))
    return History(tuple(epochs), {**step.facts(), "threads": threads})


def _epoch(step: Step, batches: list[Tensor], number: int, scales: list[float]) -> float:
    """Do one epoch (from 1) and return the mean loss of its batches; only then the host waits.

    `scales` are those of the loss, first and after each epoch; this one's is added.
    """
    recipe, first = step.recipe, (number - 1) * len(batches)
    losses = [
        step(batch, learning_rate(recipe, first + i, len(batches)))
        for i, batch in enumerate(batches)
    ]
    loss = float(torch.stack(losses).mean())
    scales.append(step.loss_scale)
    if fault := _fault(step.network, loss, scales[-2:], len(batches)):
        what, remedy = fault
        when = f"in epoch {number} of {recipe.epochs}"
        raise TrainingDivergedError(f"diverged: {what} {when}; {remedy}")
    return loss


def _fault(
    network: Network, loss: float, scales: Sequence[float], steps: int
) -> tuple[str, str] | None:
    """What is hopeless after an epoch of so many steps, and what would help.

    `scales` are those of the loss before and after it. fp16 leaves out a step whose gradients are
    not finite and halves the scale; below 1 it is no longer the scale that makes them so.
    """
    remedy = "lower the learning rate"
    if not math.isfinite(loss) or loss > HOPELESS:
        return f"the training loss is {loss:.3g}", remedy
    # The last update shows in no loss, and batch normalisation hides how large its input is.
    weights = [*network.parameters()]
    if not _finite([*weights, *_statistics(network)]):
        what = "statistics of batch normalisation" if _finite(weights) else "weights"
        return f"the {what} are not finite", remedy
    before, now = scales
    if now < 1 and now == before * 0.5**steps:
        return "the gradients are not finite", f"{remedy}, or set precision: bf16 or fp32"
    return None


def _finite(tensors: Iterable[Tensor]) -> bool:
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


def _statistics(network: nn.Module) -> Iterator[Tensor]:
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None:
            yield from (module.running_mean, cast(Tensor, module.running_var))


def _require_any(step: Step, scales: Sequence[float], steps: int) -> None:
    """Make sure that of so many steps of a training at least one was done, in fp16.

    Raises:
        TrainingDivergedError: the loss was scaled by too much in all of them.
    """
    if step.settings.precision == "fp16" and scales[-1] == scales[0] * 0.5**steps:
        raise TrainingDivergedError(
            f"fp16: the gradients of all {steps} steps overflowed, so that nothing was trained; "
            "train for more steps, or set precision: bf16 or fp32"
        )


def set_bn_momentum(network: nn.Module, momentum: float) -> None:
    """Give every batch normalisation this momentum (PyTorch's: the weight of the new batch)."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = momentum


def split(count: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices for training and validation: a random, not stratified `ceil(share * count)` for
    validation, drawn anew for each seed (facts section 5)."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(_stream(seed, 1)))
    held_out = count - kept(count, share)
    return order[held_out:], order[:held_out]


def kept(count: int, share: float) -> int:
    """How many of `count` images are trained on where a `share` is held out."""
    return count - math.ceil(share * count)


def steps_per_epoch(count: int, recipe: Recipe) -> int:
    """How many steps an epoch has with `count` training images, held-out ones among them."""
    whole, rest = divmod(kept(count, recipe.validation), recipe.batch_size)
    return whole + (rest > 1)


def require_enough(dataset: Dataset, share: float) -> None:
    """Make sure that a batch is left to train on beside a `share` for validation.

    Raises:
        BenchError: batch normalisation needs two images, and there are fewer.
    """
    count = len(dataset.train)
    left = kept(count, share)
    if left < 2:
        raise BenchError(
            f"{dataset.name}: validation: {share:g} leaves {left} of {count} training images, and "
            "training needs 2; hold out fewer, or use more images"
        )


def _batches(index: Tensor, size: int) -> list[Tensor]:
    """Cut into batches; a rest of one image is left out, for batch normalisation needs two."""
    return [part for part in index.split(size) if len(part) > 1]


def _stream(seed: int, purpose: int) -> int:
    """A seed of its own for each purpose, so that they do not share random numbers."""
    return (seed * 1_000_003 + purpose * 7_919) % 2**63


@torch.no_grad()
def _score(step: Step, index: Tensor, size: int = 500) -> float | None:
    """Top-1 in percent on training images that were held out, in the precision of the training."""
    if len(index) == 0:
        return None
    network, augment = step.network, step.recipe.augment
    labels, index = step.labels[index.to(step.device)], index.to(step.images.home)

    def correct(rows: slice) -> Tensor:
        inputs = network.normalize_train(step.images.at(index[rows]).float().div_(255.0))
        if augment.crop is not None and not augment.crop_padding:
            inputs = _centre(inputs, augment.crop)
        inputs = inputs.contiguous(memory_format=step.settings.memory_format)
        with autocast(step.settings, step.device):
            logits: Tensor = network.backbone(inputs)
        return (classes(logits) == labels[rows]).sum()

    found = torch.stack(in_batches_that_fit(len(index), size, correct))
    return 100.0 * float(found.sum()) / len(index)


def _centre(images: Tensor, size: int) -> Tensor:
    top, left = (images.shape[2] - size) // 2, (images.shape[3] - size) // 2
    return images[:, :, top : top + size, left : left + size]
