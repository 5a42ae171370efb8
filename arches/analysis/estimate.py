"""The cost of a network in four numbers, and how they compare with those of another one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from arches.analysis.cost import read_cost


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cost of a network for one image.

    Attributes:
        parameters: number of values of all weights, frozen ones included.
        flops: of one forward pass in inference, 2 x multiply-accumulates.
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
    """The cost of a network for one image of that side.

    It is read as :func:`arches.analysis.cost.read_cost` does, without running the network where
    that can be.

    Args:
        network: left as it is; a copy is read.
        image_size: side in pixels.
        in_chans: channels of the image.
    """
    cost = read_cost(network, image_size, in_chans)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Estimate(parameters, cost.flops, cost.saved_bytes, cost.peak_bytes)
