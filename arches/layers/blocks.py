"""The layers and blocks of which networks consist.

Each is a :class:`Unit`: a row of :func:`arches.describe`, and the owner of a name under which its
weights are exchanged.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional

from arches.declaration import Norm
from arches.layers.same_pad import SameConv2d, SameMaxPool2d
from arches.plan import BlockPlan, ConvPlan, PoolPlan


class Unit(nn.Module):
    """A part of a network with a name and a line in its description.

    Args:
        name: under which weights are exchanged, such as ``m2.fuse``.
        operation: what it does, for people.
        in_width: channels that enter.
        width: channels that leave.
    """

    def __init__(self, name: str, operation: str, in_width: int, width: int) -> None:
        super().__init__()
        self.name = name
        self.operation = operation
        self.in_width = in_width
        self.width = width

    def leaves(self) -> Iterator[tuple[str, str]]:
        """Pairs of attribute and exchange name of the parts that own weights.

        The convolution of a unit that has one is known by the name of the unit itself.
        """
        for attribute, _ in self.named_children():
            yield attribute, self.name if attribute == "conv" else f"{self.name}.{attribute}"


class NormReLU(nn.BatchNorm2d):
    """Batch normalisation followed by ReLU."""

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__(width, eps=norm.eps, momentum=norm.momentum)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise and rectify N x C x H x W."""
        # In place is safe: BN hands out a new tensor and needs none of it for its backward pass.
        return functional.relu_(super().forward(input))


class ConvNormReLU(Unit):
    """Convolution, BN, ReLU: the layer of the plain networks."""

    def __init__(self, plan: ConvPlan) -> None:
        operation = f"conv {plan.kernel}x{plan.kernel}, BN, ReLU"
        super().__init__(plan.name, operation, plan.in_width, plan.width)
        self.conv = SameConv2d(plan.in_width, plan.width, plan.kernel)
        self.bn = NormReLU(plan.width, plan.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x in_width x H x W to N x width x H x W."""
        out: Tensor = self.bn(self.conv(x))
        return out


class BareConv(Unit):
    """A convolution alone: the stem of the residual networks."""

    def __init__(self, plan: ConvPlan) -> None:
        operation = f"conv {plan.kernel}x{plan.kernel}"
        super().__init__(plan.name, operation, plan.in_width, plan.width)
        self.conv = SameConv2d(plan.in_width, plan.width, plan.kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x in_width x H x W to N x width x H x W."""
        out: Tensor = self.conv(x)
        return out


class NormReLUConv(Unit):
    """BN, ReLU, convolution: what fuses a merge in the residual networks."""

    def __init__(self, plan: ConvPlan) -> None:
        operation = f"BN, ReLU, conv {plan.kernel}x{plan.kernel}"
        super().__init__(plan.name, operation, plan.in_width, plan.width)
        self.bn = NormReLU(plan.in_width, plan.norm)
        self.conv = SameConv2d(plan.in_width, plan.width, plan.kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x in_width x H x W to N x width x H x W."""
        out: Tensor = self.conv(self.bn(x))
        return out


class PreActivated(Unit):
    """The parts of a pre-activated residual block; where widths or sizes change, one projects."""

    def __init__(self, plan: BlockPlan, operation: str) -> None:
        super().__init__(plan.name, operation, plan.in_width, plan.width)
        self.bn1 = NormReLU(plan.in_width, plan.norm)
        self.conv1 = SameConv2d(plan.in_width, plan.width, plan.kernel, plan.stride)
        self.bn2 = NormReLU(plan.width, plan.norm)
        self.conv2 = SameConv2d(plan.width, plan.width, plan.kernel)
        self.proj: SameConv2d | None = None
        if plan.projects:
            self.proj = SameConv2d(plan.in_width, plan.width, 1, plan.stride)

    def shortcut(self, x: Tensor, opened: Tensor) -> Tensor:
        """The input as it is, or the projection of the activated input."""
        if self.proj is None:
            return x
        projected: Tensor = self.proj(opened)
        return projected


class ResidualBlock(PreActivated):
    """Pre-activated residual block at one resolution, or with a stride."""

    def __init__(self, plan: BlockPlan) -> None:
        stride = f", stride {plan.stride}" if plan.stride > 1 else ""
        super().__init__(plan, f"2 convs {plan.kernel}x{plan.kernel}{stride}")

    def forward(self, x: Tensor) -> Tensor:
        """Map N x in_width x H x W to N x width x ceil(H / stride) x ceil(W / stride)."""
        opened = self.bn1(x)
        branch: Tensor = self.conv2(self.bn2(self.conv1(opened)))
        return self.shortcut(x, opened) + branch


class Pooling(Unit):
    """Max-pooling at the entry of a bottom-up position."""

    def __init__(self, plan: PoolPlan) -> None:
        operation = f"max-pool {plan.kernel}x{plan.kernel}, stride {plan.stride}"
        super().__init__(plan.name, operation, plan.width, plan.width)
        self.pool = SameMaxPool2d(plan.kernel, plan.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x width x H x W to N x width x ceil(H / stride) x ceil(W / stride)."""
        out: Tensor = self.pool(x)
        return out

    def leaves(self) -> Iterator[tuple[str, str]]:
        """A pool owns no weights."""
        return iter(())


def build_conv(plan: ConvPlan) -> Unit:
    """The module of a planned convolution."""
    forms = {"conv-bn-relu": ConvNormReLU, "conv": BareConv, "bn-relu-conv": NormReLUConv}
    return forms[plan.form](plan)


def build_layer(plan: ConvPlan | BlockPlan) -> Unit:
    """The module of a planned layer: a convolution or a residual block."""
    return ResidualBlock(plan) if isinstance(plan, BlockPlan) else build_conv(plan)
