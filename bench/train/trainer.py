"""The training loop: the whole set on the device, no host synchronisation within an epoch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.models.network import Network
from bench.suite.recipe import Recipe
from bench.train.augment import augment
from bench.train.determinism import is_deterministic, reproducible_threads
from bench.train.schedule import learning_rate


class TrainingDivergedError(BenchError):
    """The loss or the weights became NaN or infinite; the message says in which epoch."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch showed: mean training loss, validation top-1 (percent; None without split)."""

    number: int
    loss: float
    validation: float | None


# Chance is the logarithm of the number of classes, 7 for a thousand; from here nothing returns.
HOPELESS = 1e6

Report = Callable[[Epoch], None]

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def train(
    network: Network,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    report: Report = lambda epoch: None,
) -> list[Epoch]:
    """Train `network` in place and leave it in eval mode, contiguous; return its epochs.

    The split, the order of images and the augmentation come from generators keyed by `seed`.
    The last epoch's network is the result: no early stopping, no best-of (as in the paper).

    Raises:
        TrainingDivergedError: the loss or the weights are no longer finite.
        BenchError: too few images for a batch and a validation split.
    """
    if dataset.train.labels is None:
        raise BenchError(f"{dataset.name}: has no training labels")
    train_index, validation_index = split(len(dataset.train), recipe.validation, seed)
    if len(train_index) < 2:
        raise BenchError(f"{dataset.name}: {len(train_index)} training images are too few")
    if recipe.bn_momentum is not None:
        set_bn_momentum(network, recipe.bn_momentum)
    memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
    network.to(device)
    network.to(memory_format=memory_format)
    network.normalize_train.to(device)
    step = _Step(network, recipe, seed, device)
    images, labels = dataset.train.images.to(device), dataset.train.labels.to(device)
    order = torch.Generator().manual_seed(_stream(seed, 2))
    epochs: list[Epoch] = []
    with reproducible_threads(is_deterministic(recipe, device), device):
        for number in range(1, recipe.epochs + 1):
            network.train()
            shuffled = train_index[torch.randperm(len(train_index), generator=order)].to(device)
            loss = _epoch(step, images, labels, _batches(shuffled, recipe.batch_size), number)
            network.eval()
            score = _score(network, images, labels, validation_index, device, recipe)
            epochs.append(Epoch(number, loss, score))
            report(epochs[-1])
    # Weights read back from a file are contiguous: measures must not tell the two apart.
    network.to(memory_format=torch.contiguous_format)
    return epochs


def _epoch(
    step: _Step, images: Tensor, labels: Tensor, batches: list[Tensor], number: int
) -> float:
    """Do one epoch (from 1) and return the mean loss of its batches; only then the host waits."""
    recipe, first = step.recipe, (number - 1) * len(batches)
    losses = [
        step(images[batch], labels[batch], learning_rate(recipe, first + i, len(batches)))
        for i, batch in enumerate(batches)
    ]
    loss = float(torch.stack(losses).mean())
    finite = torch.stack([weight.isfinite().all() for weight in step.network.parameters()]).all()
    if not math.isfinite(loss) or loss > HOPELESS:
        what = f"the training loss is {loss:.3g}"
    elif not finite:  # the last update shows in no loss
        what = "the weights are not finite"
    else:
        return loss
    raise TrainingDivergedError(
        f"diverged: {what} in epoch {number} of {recipe.epochs}; lower the learning rate"
    )


class _Step:
    """One optimisation step; holds the optimiser, scaler and augmentation stream."""

    def __init__(self, network: Network, recipe: Recipe, seed: int, device: torch.device) -> None:
        self.network, self.recipe, self.device = network, recipe, device
        half = recipe.precision == "fp16"
        self.optimizer = torch.optim.SGD(
            parameter_groups(network, recipe.weight_decay),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            # The fused step skips an overflow by itself; others ask the host at every step.
            fused=True if half else None,
        )
        self.random = torch.Generator().manual_seed(_stream(seed, 3))
        self.scaler = torch.amp.GradScaler(device.type, enabled=half)

    def __call__(self, images: Tensor, labels: Tensor, lr: float) -> Tensor:
        """Train on uint8 images; return the loss, still on the device."""
        recipe = self.recipe
        inputs = self.network.normalize_train(images.float().div_(255.0))
        inputs = augment(inputs, recipe.augment, self.random)
        if recipe.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with autocast(recipe, self.device):
            logits = self.network.backbone(inputs)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()


def autocast(recipe: Recipe, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Autocast for the recipe's precision; nothing for fp32."""
    if recipe.precision == "fp32":
        return contextlib.nullcontext()
    dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float16
    return torch.autocast(device.type, dtype=dtype)


def parameter_groups(network: Network, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay on kernels only (tensors of two or more dimensions), never on biases or
    normalisation (of any shape), nor on what the backbone names in `no_weight_decay()`."""
    names = getattr(network.backbone, "no_weight_decay", None)
    exempt = set(names()) if callable(names) else set()
    for path, module in network.backbone.named_modules():
        if isinstance(module, _NORMS):
            exempt |= {name for name, _ in module.named_parameters(path, recurse=False)}
    kernels: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.backbone.named_parameters():
        if parameter.requires_grad:
            kernel = parameter.ndim >= 2 and not name.endswith("bias") and name not in exempt
            (kernels if kernel else others).append(parameter)
    return [
        {"params": kernels, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def set_bn_momentum(network: nn.Module, momentum: float) -> None:
    """Give every batch normalisation this momentum (PyTorch's: the weight of the new batch)."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = momentum


def split(count: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices for training and validation: a random, not stratified `ceil(share * count)` for
    validation, drawn anew for each seed (facts section 5)."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(_stream(seed, 1)))
    held_out = math.ceil(share * count)
    return order[held_out:], order[:held_out]


def _batches(index: Tensor, size: int) -> list[Tensor]:
    """Cut into batches; a rest of one image is left out, for batch normalisation needs two."""
    return [part for part in index.split(size) if len(part) > 1]


def _stream(seed: int, purpose: int) -> int:
    """A seed of its own for each purpose, so that they do not share random numbers."""
    return (seed * 1_000_003 + purpose * 7_919) % 2**63


@torch.no_grad()
def _score(
    network: Network,
    images: Tensor,
    labels: Tensor,
    index: Tensor,
    device: torch.device,
    recipe: Recipe,
    size: int = 500,
) -> float | None:
    if len(index) == 0:
        return None
    correct = torch.zeros((), device=device)
    for part in index.to(device).split(size):
        inputs = network.normalize_train(images[part].float().div_(255.0))
        if recipe.augment.crop is not None and not recipe.augment.crop_padding:
            inputs = _centre(inputs, recipe.augment.crop)
        correct += (network.backbone(inputs).argmax(1) == labels[part]).sum()
    return 100.0 * float(correct) / len(index)


def _centre(images: Tensor, size: int) -> Tensor:
    top, left = (images.shape[2] - size) // 2, (images.shape[3] - size) // 2
    return images[:, :, top : top + size, left : left + size]
