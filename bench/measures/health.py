"""Signs that a network cannot be judged by attacks as it is: AutoAttack's checks (Croce and Hein,
2020, and the flags of its reference implementation), on a few images."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bench.attacks.isolation import untouched
from bench.models.predict import as_input, classes

LOOKED_AT = 64
# The log-sum-exp of log-probabilities is 0, the sum of probabilities 1; rounding aside.
TOLERANCE = 1e-4
# Classes whose logits are nearer, as a share of the largest, may change places in another batch.
ROUNDING = 1e-3


def symptoms(
    network: nn.Module, images: Tensor, labels: Tensor, device: torch.device
) -> dict[str, float]:
    """Look at some images (uint8 N x C x H x W, labels int64 N), evenly spread, for many sets are
    sorted by class. Warns of a network whose answers depend on the batch.

    Returns:
        `randomised`: percent of images whose logits differ between two passes; `probabilities`:
        1 if the outputs are probabilities and no logits; `zero_gradient`: percent of images for
        which the gradient of the loss is 0 or not finite everywhere; `gradient_in_forward`: 1 if
        the network computes gradients while it predicts.
    """
    count = min(LOOKED_AT, len(images))
    chosen = torch.arange(count) * len(images) // count
    clean, truth = as_input(images[chosen], device), labels[chosen].to(device)
    with untouched(network, 0, device):
        with torch.no_grad(), _gradient_calls() as calls:
            once, again = network(clean), network(clean)
            halves = torch.cat([network(half) for half in clean.chunk(2)])
        # NaN twice is no random answer, though it does not equal itself.
        same = (once == again) | (once.isnan() & again.isnan())
        with torch.enable_grad():
            leaf = clean.clone().requires_grad_()
            logits = network(leaf)
            slope: Tensor | None = None
            if logits.requires_grad:
                loss = nn.functional.cross_entropy(logits, truth, reduction="sum")
                # A head that learns from detached features has a gradient, but not of the image.
                (slope,) = torch.autograd.grad(loss, leaf, allow_unused=True)
            gradient = torch.zeros_like(leaf) if slope is None else slope
    if bool(same.all()):
        _warn_of_batches(once, halves)
    return {
        "randomised": 100.0 * float((~same).any(1).float().mean()),
        "probabilities": float(_are_probabilities(once)),
        "zero_gradient": 100.0 * _without_gradient(gradient),
        "gradient_in_forward": float(calls[0] > 0),
    }


def _warn_of_batches(whole: Tensor, halves: Tensor) -> None:
    """Say how many images get another class in a batch of another size, beyond rounding."""
    margin = whole.topk(2).values.diff(dim=1)[:, 0].abs()
    clear = margin > ROUNDING * whole.abs().amax(1)
    other = int((clear & (classes(whole) != classes(halves))).sum())
    if other:
        warnings.warn(
            f"the network's answers depend on the batch: {other} of {len(whole)} images get "
            "another class in a batch of half the size; what is measured depends on batch sizes",
            stacklevel=2,
        )


def _are_probabilities(outputs: Tensor) -> bool:
    inside = bool(((outputs >= 0) & (outputs <= 1)).all())
    return inside and bool(((outputs.sum(1) - 1).abs() < TOLERANCE).all())


def _without_gradient(gradient: Tensor) -> float:
    flat = gradient.flatten(1)
    useless = (flat == 0).all(1) | ~flat.isfinite().all(1)
    return float(useless.float().mean())


@contextlib.contextmanager
def _gradient_calls() -> Iterator[list[int]]:
    """Count calls of autograd while the block runs."""
    count = [0]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            count[0] += 1
            return call(*args, **kwargs)

        return wrapper

    grad, backward = torch.autograd.grad, torch.autograd.backward
    torch.autograd.grad = counted(grad)
    torch.autograd.backward = counted(backward)
    try:
        yield count
    finally:
        torch.autograd.grad, torch.autograd.backward = grad, backward
