"""Predictions in batches, the same way for every measure."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.models.network import Network


def as_input(images: Tensor, device: torch.device) -> Tensor:
    """uint8 0..255 as float32 [0, 1] on the device."""
    return images.to(device).float().div_(255.0)


@torch.no_grad()
def predictions(
    network: Network, images: Tensor, device: torch.device, batch_size: int = 500
) -> Tensor:
    """Predicted classes, int64 N on the CPU, of uint8 images N x C x H x W."""
    network.eval()
    parts = [
        network(as_input(images[i : i + batch_size], device)).argmax(1)
        for i in range(0, len(images), batch_size)
    ]
    return torch.cat(parts).cpu()
