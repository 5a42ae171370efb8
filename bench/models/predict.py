"""Predictions in batches, the same way for every measure."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.models.memory import in_batches_that_fit
from bench.models.network import Network


def as_input(images: Tensor, device: torch.device) -> Tensor:
    """uint8 0..255 as float32 [0, 1] on the device."""
    return images.to(device).float().div_(255.0)


@torch.no_grad()
def predicted(network: Network, images: Tensor, device: torch.device) -> Tensor:
    """Predicted classes, int64 N on the device, of one batch of uint8 images N x C x H x W."""
    logits: Tensor = network(as_input(images, device))
    return logits.argmax(1)


def predictions(
    network: Network, images: Tensor, device: torch.device, batch_size: int = 500
) -> Tensor:
    """Predicted classes, int64 N on the CPU, of uint8 images N x C x H x W.

    A batch that does not fit into memory is halved.
    """
    network.eval()
    parts = in_batches_that_fit(
        len(images), batch_size, lambda rows: predicted(network, images[rows], device)
    )
    return torch.cat(parts).cpu()
