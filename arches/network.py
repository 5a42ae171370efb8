"""The network: depth positions one after the other, bottom-up and top-down alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from torch import Tensor, nn

from arches.blocks import Pooling, PreActivated, Unit, build_conv, build_layer
from arches.heads import ScoreHead, build_head
from arches.initialise import initialise
from arches.merge import Merge, build_merge
from arches.options import Options
from arches.plan import Plan, Position
from arches.pyramid import Pyramid, scale_names
from arches.receptive_field import Field, plan_fields


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
        self.dropout = nn.Dropout(plan.dropout) if plan.dropout else None
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


class Network(nn.Module):
    """A network that follows a plan.

    Attributes:
        plan: what it was built from.
        scales: factors at which the image is read, finest first; ``(1,)`` in a bottom-up network.
        scale_names: the names of these inputs.
        feature_names: the named feature maps, in order of depth: ``act_1``, ``act_2``, ...
    """

    def __init__(self, plan: Plan, options: Options) -> None:
        super().__init__()
        self.plan = plan
        self.options = options
        self.scales = plan.scales
        self.scale_names = scale_names(plan.scales)
        self.pyramid = Pyramid(plan.scales, options.downsampling, plan.backbone.blur_sigma)
        built = [
            DepthPosition(position, index > 0, options.upsampling)
            for index, position in enumerate(plan.positions)
        ]
        self.positions = cast("Sequence[DepthPosition]", nn.ModuleList(built))
        self.head = build_head(plan.head)
        self.feature_names = tuple(self.feature_modules())
        initialise(self, plan.backbone.init)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images.

        Args:
            x: N x in_chans x H x W, normalised as in training; no fixed size.

        Returns:
            N x num_classes, what goes into the softmax.

        Raises:
            ValueError: for other shapes, or an image too small for the coarsest resolution.
        """
        return self._run([x] * len(self.scales))

    def forward_scales(self, images: Mapping[str | int, Tensor] | Sequence[Tensor]) -> Tensor:
        """Logits when each scale is made from an image of its own (paper, section 4.2).

        Args:
            images: one image of full resolution for each scale, N x in_chans x H x W: a mapping by
                name or position, or a sequence, finest first. The network downsamples each.

        Returns:
            N x num_classes; the same image at all scales gives what ``forward`` gives.

        Raises:
            ValueError: for a missing or unknown scale, or images of different shapes.
        """
        return self._run(self.pyramid.order(images))

    def _run(self, images: Sequence[Tensor]) -> Tensor:
        self._check(images[0])
        levels = dict(zip(self.scales, self.pyramid(images), strict=True))
        x: Tensor | None = None
        for position in self.positions:
            x = position(x, levels.get(position.factor))
        logits: Tensor = self.head(x)
        return logits

    def _check(self, image: Tensor) -> None:
        if image.dim() != 4 or image.shape[1] != self.plan.in_chans:
            raise ValueError(
                f"images must be N x {self.plan.in_chans} x H x W, not {tuple(image.shape)}."
            )
        if min(image.shape[2:]) < self.plan.total_factor:
            raise ValueError(
                f"images of {image.shape[2]} x {image.shape[3]} pixels are too small: the coarsest "
                f"resolution is 1/{self.plan.total_factor}, so no side may be shorter than "
                f"{self.plan.total_factor} pixels."
            )

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

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """Named feature maps and logits of one pass; gradients flow between them.

        Args:
            x: N x in_chans x H x W.

        Returns:
            The maps (N x C x h x w) under ``feature_names``, then ``logits`` (N x num_classes).
        """
        maps: dict[str, Tensor] = {}
        handles = [
            module.register_forward_hook(lambda _m, _i, out, name=name: maps.update({name: out}))
            for name, module in self.feature_modules().items()
        ]
        try:
            logits = self(x)
        finally:
            for handle in handles:
                handle.remove()
        return {**{name: maps[name] for name in self.feature_names}, "logits": logits}

    def units(self) -> Iterator[tuple[str, Unit]]:
        """Module paths and units, in order of depth."""
        for path, module in self.named_modules():
            if isinstance(module, Unit):
                yield path, module

    def rows(self) -> Iterator[tuple[int, Unit]]:
        """Depth position (from 1) and unit of each row of a description, in order of depth."""
        for depth, position in enumerate(self.positions, start=1):
            yield from ((depth, unit) for unit in _outermost(position))
        yield len(self.positions), self.head

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


def _outermost(module: nn.Module) -> Iterator[Unit]:
    """Units that are not part of another one."""
    for child in module.children():
        if isinstance(child, Unit):
            yield child
        else:
            yield from _outermost(child)
