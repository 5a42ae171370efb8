"""The inverted network: the stages of a model run coarse to fine, over the paper's pyramid."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from arches.declaration import Norm
from arches.inversion.options import InvertOptions
from arches.inversion.stages import Stage, Stages, in_short
from arches.layers.blocks import ConvNormReLU, Unit, build_conv
from arches.layers.heads import global_average
from arches.layers.merge import Merge, Rise
from arches.layers.pyramid import Pyramid, scale_names
from arches.plan import ConvPlan
from arches.surface import Part, PositionedNetwork

NORM = Norm(momentum=0.1, eps=1e-5)


class StageBlock(Unit):
    """The modules of one stage, one after the other, as one map to one map.

    Args:
        stage: what they are; its layouts say how the modules order their axes.
        modules: to run, which keep the size of the map.
    """

    def __init__(self, stage: Stage, modules: Sequence[nn.Module]) -> None:
        operation = in_short(stage.modules)
        super().__init__(f"t{stage.reduction}", operation, stage.in_width, stage.width)
        self.parts = nn.ModuleList(modules)
        self.paths = stage.modules
        self.in_layout = stage.in_layout
        self.out_layout = stage.out_layout

    def forward(self, x: Tensor) -> Tensor:
        """Map N x in_width x H x W to N x width x H x W."""
        if self.in_layout == "nhwc":
            x = x.permute(0, 2, 3, 1)
        for part in self.parts:
            x = part(x)
        if isinstance(x, tuple | list):
            x = torch.cat(list(x), dim=1 if self.out_layout == "nchw" else 3)
        return x.permute(0, 3, 1, 2) if self.out_layout == "nhwc" else x

    def leaves(self) -> Iterator[tuple[str, str]]:
        """Its weights have no exchange format."""
        return iter(())


class LinearHead(Unit):
    """Average over the image, dense layer.

    Args:
        in_width: channels of the map.
        num_classes: number of logits.
        ending: what comes before, if anything does; it keeps the shape of the map.
    """

    def __init__(self, in_width: int, num_classes: int, ending: nn.Module | None = None) -> None:
        steps = ["mean", "dense"] if ending is None else [_kind(ending), "mean", "dense"]
        super().__init__("head", ", ".join(steps), in_width, num_classes)
        self.ending = ending
        self.dense = nn.Linear(in_width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to logits N x num_classes."""
        if self.ending is not None:
            x = self.ending(x)
        logits: Tensor = self.dense(global_average(x))
        return logits


def _kind(ending: nn.Module) -> str:
    """A norm, or what it is without one."""
    names = [type(module).__name__.lower() for module in ending.modules()]
    if any("norm" in name for name in names):
        return "norm"
    return next((name for name in names if "drop" in name), names[-1])


class InvertedPosition(nn.Module):
    """All that runs at one resolution: stem, merge with the map from below, stage.

    Args:
        factor: of the resolution.
        in_chans: channels of the image.
        below: channels of the map from below; none at the first position.
        width: channels of stem and merge.
        stage: what runs after the merge, if anything does.
        options: of the inversion.
    """

    def __init__(
        self,
        factor: int,
        in_chans: int,
        below: int | None,
        width: int,
        stage: StageBlock | None,
        options: InvertOptions,
    ) -> None:
        super().__init__()
        self.factor = factor
        self.stem = ConvNormReLU(_conv(f"in{factor}", 3, in_chans, width))
        self.merge: Merge | None = None
        if below is not None:
            self.merge = _merge(factor, below, width, options)
        self.lift: Unit | None = None
        if stage is not None and stage.in_width != width:
            self.lift = ConvNormReLU(_conv(f"m{factor}.lift", 1, width, stage.in_width))
        self.stage = stage
        self.width = width if stage is None else stage.width

    def forward(self, x: Tensor | None, level: Tensor) -> Tensor:
        """Run the position.

        Args:
            x: the map that left the position before; none at the first one.
            level: the image at this scale.

        Returns:
            The map that leaves this position.
        """
        out: Tensor = self.stem(level)
        if self.merge is not None:
            out = self.merge(x, out)
        if self.lift is not None:
            out = self.lift(out)
        if self.stage is not None:
            out = self.stage(out)
        return out


def _conv(name: str, kernel: int, in_width: int, width: int) -> ConvPlan:
    return ConvPlan(name, kernel, in_width, width, "conv-bn-relu", NORM)


def _merge(factor: int, below: int, width: int, options: InvertOptions) -> Merge:
    project = None
    if below != width:
        project = ConvNormReLU(_conv(f"m{factor}.proj", 1, below, width))
    fuse = None
    if options.merge == "concat":
        fuse = build_conv(_conv(f"m{factor}.fuse", 3, 2 * width, width))
    return Merge(Rise(f"m{factor}.up", project, width, options.upsampling), fuse)


class InvertedNetwork(PositionedNetwork):
    """A model turned upside down.

    Attributes:
        source: name of the model.
        variant: ``td``, ``td_uni`` or ``td_rev``.
        stages: what was found in the model, in its own order.
        options: of the inversion.
        positions: of the network, coarsest first.
        wanted_widths: for each factor the width that the variant asks of its stage; what was
            achieved is in :attr:`widths`.
        head_note: how the head, or what is done to the image, differs from that of the model;
            empty where it does not.
        front: what the model does to the image itself, such as subtracting a mean; or none.
    """

    positions: Sequence[InvertedPosition]

    def __init__(
        self,
        source: str,
        variant: str,
        stages: Stages,
        positions: Sequence[InvertedPosition],
        in_chans: int,
        num_classes: int,
        image_size: int,
        options: InvertOptions,
        wanted_widths: Mapping[int, int],
        head: Unit,
        head_note: str = "",
        unregularised: Collection[str] = (),
        front: Unit | None = None,
    ) -> None:
        super().__init__()
        self.source, self.variant = source, variant
        self.origin = "inverted by the rule"
        self.wanted_widths = dict(wanted_widths)
        self.stages, self.options = stages, options
        self.in_chans, self.image_size = in_chans, image_size
        # Sides are rounded up, so that the coarsest scale has a pixel whatever the image.
        self.smallest_side = 1
        self.scales = tuple(sorted(position.factor for position in positions))
        self.scale_names = scale_names(self.scales)
        self.pyramid = Pyramid(self.scales, options.downsampling, options.blur_sigma, partial=True)
        self.front = front
        self.positions = cast("Sequence[InvertedPosition]", nn.ModuleList(positions))
        self.head, self.head_note = head, head_note
        self.num_classes = num_classes
        self.feature_names = tuple(self.feature_modules())
        self._unregularised = self._moved(unregularised)

    @property
    def widths(self) -> dict[int, int]:
        """For each factor the channels that leave its position."""
        return {position.factor: position.width for position in self.positions}

    @property
    def missed_widths(self) -> dict[int, tuple[int, int]]:
        """For each factor whose stage has another width than was wanted: wanted, achieved."""
        staged = {position.factor for position in self.positions if position.stage is not None}
        return {
            factor: (wanted, self.widths[factor])
            for factor, wanted in self.wanted_widths.items()
            if factor in staged and self.widths[factor] != wanted
        }

    def run(self, images: Sequence[Tensor]) -> Tensor:
        """Logits of one checked image of full resolution for each scale, finest first."""
        if self.front is None:
            return super().run(images)
        if all(image is images[0] for image in images):  # so that statistics count it once
            return super().run([self.front(images[0])] * len(images))
        return super().run([self.front(image) for image in images])

    def rows(self) -> Iterator[Part]:
        """What is done to the image, if anything, then the outermost units, in order of depth."""
        if (front := self.front) is not None:
            yield Part(1, front.name, front.operation, (front,), front.in_width, front.width)
        yield from super().rows()

    def extra_repr(self) -> str:
        """What was inverted, and how; shown when the network is printed."""
        return ", ".join(
            [f"{self.source}, {self.variant}, {self.image_size} pixels", *self.remarks()]
        )

    def remarks(self) -> Iterator[str]:
        """Widths that a stage could not take, and a head that is another one."""
        for factor, (wanted, achieved) in self.missed_widths.items():
            yield f"stage 1/{factor}: {achieved} channels for the wanted {wanted}"
        if self.head_note:
            yield self.head_note

    def no_weight_decay(self) -> set[str]:
        """What the model itself leaves out of weight decay, under its new names."""
        return set(self._unregularised)

    def _moved(self, names: Collection[str]) -> set[str]:
        """New names of parameters of the model; those of its stem and head are gone."""
        own = {name for name, _ in self.named_parameters()}
        moved = set()
        for number, position in enumerate(self.positions):
            paths = position.stage.paths if position.stage is not None else ()
            for place, path in enumerate(paths):
                home = f"positions.{number}.stage.parts.{place}."
                inside = [n.removeprefix(f"{path}.") for n in names if n.startswith(f"{path}.")]
                moved |= {home + rest for rest in inside}
                # Behind a replication, see strides.Enlarged.
                moved |= {f"{home}inner.{rest}" for rest in inside}
        return moved & own

    def feature_modules(self) -> dict[str, nn.Module]:
        """The ends of the positions, coarse to fine, by name."""
        return {f"act_{n}": position for n, position in enumerate(self.positions, start=1)}
