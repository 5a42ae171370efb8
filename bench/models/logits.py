"""What a network has to give: one tensor of logits, whether it is trained or asked."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.models.network import Network


def require_tensor(output: object, training: bool = False) -> Tensor:
    """What a backbone returned, if it is a tensor; `training` says whether it was being trained.

    Raises:
        BenchError: it is something else, such as a tuple with the logits of auxiliary heads.
    """
    if isinstance(output, Tensor):
        return output
    kind = type(output).__name__
    what = f"{'an' if kind[:1] in 'AEIOaeio' else 'a'} {kind}"
    if isinstance(output, tuple | list | dict):
        what += f" of {len(output)}"
    if not training:
        raise BenchError(
            f"the backbone returns {what}, not a tensor of logits; have its forward return the "
            "logits alone"
        )
    raise BenchError(
        f"the backbone returns {what} in training mode, not a tensor of logits; have its forward "
        "return the logits alone there too, without those of auxiliary heads"
    )


def check_logits(network: Network, dataset: Dataset) -> None:
    """Ask for the logits of two images, so that a wrong backbone is told before it is trained.

    Raises:
        BenchError: they are no tensor N x num_classes.
    """
    logits = require_tensor(_of_two_images(network.eval(), dataset))
    wanted = (min(2, len(dataset.test)), dataset.num_classes)
    if tuple(logits.shape) != wanted:
        raise BenchError(
            f"the backbone returns logits of shape {tuple(logits.shape)} for {wanted[0]} images "
            f"of {wanted[1]} classes; it must be {wanted}"
        )


def _of_two_images(network: Network, dataset: Dataset) -> object:
    with torch.no_grad():
        output: object = network(dataset.test.images[:2].float().div(255))
    return output
