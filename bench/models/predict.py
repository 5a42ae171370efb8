"""Predictions in batches, the same way for every measure."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.models.memory import in_batches_that_fit
from bench.models.network import Network

Logits = Callable[[Tensor], Tensor]

# Images at once. NIN-light bu takes 0.17 ms of CPU time for one of 64, 0.20 for one of 256.
PIECE = 64
# What is predicted where the network gives no numbers; right about no image.
NO_CLASS = -1


def as_input(images: Tensor, device: torch.device) -> Tensor:
    """uint8 0..255 as float32 [0, 1] on the device."""
    return images.to(device).float().div_(255.0)


def in_pieces(network: Logits) -> Logits:
    """The same logits (but for rounding, as between batches of any two sizes); on the CPU of at
    most `PIECE` images at a time, in pieces of even size.

    Feature maps of a few images stay in the processor's caches, and take a part of the memory.
    """

    def logits(images: Tensor) -> Tensor:
        count = len(images)
        if images.device.type != "cpu" or count <= PIECE:
            return network(images)
        return torch.cat([network(part) for part in images.tensor_split(-(-count // PIECE))])

    return logits


def classes(logits: Tensor) -> Tensor:
    """int64 N: the class of the largest of logits N x classes; `NO_CLASS` where one is NaN.

    To `argmax` NaN is the largest of all: a network that has broken down would answer the first
    class, and be right about its images whatever is done to them.
    """
    return logits.argmax(1).masked_fill_(logits.isnan().any(1), NO_CLASS)


@torch.no_grad()
def predicted(network: Network, images: Tensor, device: torch.device) -> Tensor:
    """Predicted classes, int64 N on the device, of one batch of uint8 images N x C x H x W."""
    return classes(in_pieces(network)(as_input(images, device)))


def predictions(
    network: Network, images: Tensor, device: torch.device, batch_size: int = 500
) -> Tensor:
    """Predicted classes, int64 N on the CPU, of uint8 images N x C x H x W; see `classes`.

    A batch that does not fit into memory is halved.
    """
    network.eval()
    parts = in_batches_that_fit(
        len(images), batch_size, lambda rows: predicted(network, images[rows], device)
    )
    return torch.cat(parts).cpu()
