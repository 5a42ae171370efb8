"""How the map from below and the finer stem become one (paper, section 3.2 and Figure 3)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from arches.layers.blocks import ConvNormReLU, PreActivated, Unit, build_conv
from arches.layers.resample import upsample
from arches.plan import BlockPlan, Position


class Rise(Unit):
    """Projects a coarse map where widths differ, upsamples it, and adds the finer map.

    The projection runs at low resolution: with its BN and ReLU it commutes with replication, and
    costs a quarter there.
    """

    def __init__(self, name: str, project: Unit | None, width: int, mode: str) -> None:
        in_width = width if project is None else project.in_width
        operation = "up, add" if project is None else "conv 1x1, BN, ReLU, up, add"
        super().__init__(name, operation, in_width, width)
        self.project = project
        self.mode = mode

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        """Map N x in_width x h x w and N x width x H x W to N x width x H x W."""
        projected = x if self.project is None else self.project(x)
        return upsample(projected, (finer.shape[-2], finer.shape[-1]), self.mode) + finer

    def leaves(self) -> Iterator[tuple[str, str]]:
        """The projection is a unit of its own and names its parts itself."""
        return iter(())


class RisingBlock(PreActivated):
    """A residual block that upsamples between its first activation and its convolutions."""

    def __init__(self, plan: BlockPlan, mode: str) -> None:
        super().__init__(plan, f"up, 2 convs {plan.kernel}x{plan.kernel}, add")
        self.mode = mode

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        """Map N x in_width x h x w and N x width x H x W to N x width x H x W."""
        size = (finer.shape[-2], finer.shape[-1])
        opened = self.bn1(x)
        branch: Tensor = self.conv2(self.bn2(self.conv1(upsample(opened, size, self.mode))))
        return upsample(self.shortcut(x, opened), size, self.mode) + branch + finer


class Merge(nn.Module):
    """Brings the map from below up to the finer one and fuses the two.

    Args:
        rise: called with the coarse and the finer map; returns their sum at the finer resolution.
        fuse: called with the concatenation [sum, finer]; without it the sum is the result.
    """

    def __init__(self, rise: nn.Module, fuse: nn.Module | None) -> None:
        super().__init__()
        self.rise = rise
        self.fuse = fuse

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        """Merge N x C x h x w with N x D x H x W to N x D x H x W."""
        total: Tensor = self.rise(x, finer)
        if self.fuse is None:
            return total
        fused: Tensor = self.fuse(torch.cat([total, finer], dim=1))
        return fused


def build_merge(plan: Position, width: int, mode: str) -> Merge:
    """The merge of a planned position that has a stem as wide as ``width``."""
    rise: Unit
    if isinstance(plan.rise, BlockPlan):
        rise = RisingBlock(plan.rise, mode)
    else:
        project = None if plan.rise is None else ConvNormReLU(plan.rise)
        rise = Rise(plan.merge_name, project, width, mode)
    return Merge(rise, None if plan.fuse is None else build_conv(plan.fuse))
