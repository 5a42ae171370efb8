"""The network: depth positions one after the other, bottom-up and top-down alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from arches.layers.blocks import Pooling, PreActivated, build_conv, build_layer
from arches.layers.dropout import build_dropout
from arches.layers.heads import DenseHead, ScoreHead, build_head
from arches.layers.initialise import initialise
from arches.layers.merge import Merge, build_merge
from arches.layers.pyramid import Pyramid, scale_names
from arches.options import Options
from arches.plan import Plan, Position
from arches.receptive_field import Field, plan_fields
from arches.surface import PositionedNetwork


class DepthPosition(nn.Module):
    """All that runs at one resolution: the way in, then the layers.

    A position is entered by its stem (the first one), from the position before (bottom-up), or by
    a merge of both (top-down).
    """

    def __init__(self, plan: Position, entered: bool, upsampling: str) -> None:
        super().__init__()
        self.factor = plan.factor
        self.pool = None if plan.pool is None else Pooling(plan.pool)
        self.stem = None if plan.stem is None else build_conv(plan.stem)
        self.merge: Merge | None = None
        if entered and plan.stem is not None:
            self.merge = build_merge(plan, plan.stem.width, upsampling)
        self.dropout = build_dropout(plan.dropout)
        self.layers = nn.Sequential(*map(build_layer, plan.layers))

    def forward(self, x: Tensor | None, level: Tensor | None) -> Tensor:
        """Run the position.

        Args:
            x: the map that left the position before; none at the first one.
            level: the image at this scale; none where the position has no stem.

        Returns:
            The map that leaves this position.
        """
        stem = None if self.stem is None else self.stem(level)
        if x is None:
            x = stem
        elif self.merge is not None:
            x = self.merge(x, stem)
        elif self.pool is not None:
            x = self.pool(x)
        if self.dropout is not None:
            x = self.dropout(x)
        out: Tensor = self.layers(x)
        return out

    @property
    def opening(self) -> PreActivated | None:
        """The first residual block, if there is one."""
        rise = None if self.merge is None else self.merge.rise
        for part in (rise, *self.layers):
            if isinstance(part, PreActivated):
                return part
        return None


class Network(PositionedNetwork):
    """A network that follows a plan.

    Attributes:
        plan: what it was built from.
        options: with which.
    """

    positions: Sequence[DepthPosition]
    head: ScoreHead | DenseHead

    def __init__(self, plan: Plan, options: Options) -> None:
        super().__init__()
        self.plan = plan
        self.options = options
        self.source, self.variant = plan.backbone.name, plan.variant
        self.origin = "" if plan.from_paper else "by the rule; the paper has no such network"
        self.in_chans = plan.in_chans
        self.image_size = plan.backbone.image_size
        self.smallest_side = plan.total_factor
        self.scales = plan.scales
        self.scale_names = scale_names(plan.scales)
        self.pyramid = Pyramid(plan.scales, options.downsampling, plan.backbone.blur_sigma)
        built = [
            DepthPosition(position, index > 0, options.upsampling)
            for index, position in enumerate(plan.positions)
        ]
        self.positions = cast("Sequence[DepthPosition]", nn.ModuleList(built))
        self.head = build_head(plan.head)
        self.num_classes = self.head.width
        self.feature_names = tuple(self.feature_modules())
        initialise(self, plan.backbone.init)

    def feature_modules(self) -> dict[str, nn.Module]:
        """The modules whose outputs are the named feature maps.

        In a plain network the end of each depth position and the map of class scores; in a
        residual one the activation that opens the blocks of each position (before any change of
        resolution) and the last activation.
        """
        found: list[nn.Module] = []
        for position in self.positions:
            if isinstance(self.head, ScoreHead):
                found.append(position)
            elif position.opening is not None:
                found.append(position.opening.bn1)
        found.append(self.head.score if isinstance(self.head, ScoreHead) else self.head.bn)
        return {f"act_{number}": module for number, module in enumerate(found, start=1)}

    def receptive_fields(self) -> tuple[Field, ...]:
        """Receptive field of each unit by the paper's Equation (1)."""
        return plan_fields(self.plan, self.options)

    def no_weight_decay(self) -> set[str]:
        """Names of the kernels that the authors left out of weight decay.

        Biases and BN are not listed: the paper's networks regularise no such parameter anyway.
        """
        return {
            f"{path}.conv.weight"
            for path, unit in self.units()
            if unit.name in self.plan.unregularised
        }
