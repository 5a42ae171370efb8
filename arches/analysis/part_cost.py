"""What the parts of a network cost, and what training keeps at each depth."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

from torch import nn

from arches.analysis.cost import Cost, PartCost, read_cost
from arches.inversion.errors import first_line
from arches.inversion.invert import invert
from arches.surface import Part, ScaledNetwork


def saved_by_depth(
    network: nn.Module, in_chans: int, num_classes: int, side: int
) -> dict[int, int]:
    """Bytes that training keeps for the backward pass at each depth, for one image; what is kept
    outside of all parts is left out.

    Args:
        network: of this package, or a model as it is; left as it is.
        in_chans: channels of the image.
        num_classes: number of logits.
        side: of the image in pixels.

    Raises:
        ValueError: the network fails on it.
    """
    if not isinstance(network, ScaledNetwork):
        network = invert(copy.deepcopy(network).cpu(), "bu", in_chans, num_classes, side)
    parts = list(network.rows())
    found: dict[int, int] = {}
    for part, share in zip(parts, costs_of(parts, cost_of(network, side)), strict=True):
        found[part.depth] = found.get(part.depth, 0) + share.saved_bytes
    return found


def cost_of(network: ScaledNetwork, side: int) -> Cost:
    """Cost of a network and of the modules of its rows, in their order.

    Raises:
        ValueError: the network fails on an image of that side in pixels.
    """

    def modules(twin: nn.Module) -> list[nn.Module]:
        rows = twin.rows() if isinstance(twin, ScaledNetwork) else ()
        return [module for row in rows for module in row.modules]

    try:
        return read_cost(network, side, network.in_chans, modules)
    except Exception as error:  # a model may raise anything
        raise ValueError(
            f"the network fails on images of {side} x {side} pixels: {first_line(error)}"
        ) from error


def costs_of(parts: Sequence[Part], cost: Cost) -> list[PartCost]:
    """The cost of each part: the sums over its modules, with what the last of them gives."""
    shares = iter(cost.parts)
    found = []
    for part in parts:
        own = [next(shares) for _ in part.modules]
        last = max(own, key=lambda share: share.place, default=PartCost())
        found.append(
            dataclasses.replace(
                last,
                flops=sum(share.flops for share in own),
                saved_bytes=sum(share.saved_bytes for share in own),
            )
        )
    return found
