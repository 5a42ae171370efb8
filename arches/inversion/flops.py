"""What an inversion costs against the model it was made from, without running either."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from arches.cost import measure_cost


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cost of a network for one image.

    Attributes:
        parameters: number of trainable values.
        flops: of one forward pass, 2 x multiply-accumulates.
        saved_bytes: activations that training keeps between forward and backward.
        peak_bytes: most that inference holds at once: input, maps and temporary copies.
    """

    parameters: int
    flops: int
    saved_bytes: int
    peak_bytes: int

    def over(self, other: Estimate) -> dict[str, float]:
        """Each number over that of another network, such as the bottom-up one."""
        return {
            name: getattr(self, name) / max(getattr(other, name), 1)
            for name in ("parameters", "flops", "saved_bytes", "peak_bytes")
        }


def estimate(network: nn.Module, image_size: int, in_chans: int = 3) -> Estimate:
    """The cost of a network for one image of that side, on the meta device.

    Args:
        network: left as it is; a copy without values is run.
        image_size: side in pixels.
        in_chans: channels of the image.
    """
    memo = {id(tensor): _empty(tensor) for tensor in (*network.parameters(), *network.buffers())}
    hollow = copy.deepcopy(network, memo).to("meta")
    images = torch.empty(2, in_chans, image_size, image_size, device="meta")
    cost = measure_cost(hollow, images)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Estimate(parameters, cost.flops // 2, cost.saved_bytes // 2, cost.peak_bytes // 2)


def _empty(tensor: torch.Tensor) -> torch.Tensor:
    hollow = torch.empty_like(tensor, device="meta")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(hollow, requires_grad=tensor.requires_grad)
    return hollow
