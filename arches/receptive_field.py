"""Receptive fields by the paper's Equation (1), over the plan of a network.

A layer of kernel k widens the field by (k - 1) times the cumulative stride of its input, in pixels
of the image. A scale 1/f has the cumulative stride f from the start, and each of its pixels sees
the whole width of the blur. Upsampling halves the stride and leaves the field as it is (bilinear
upsampling also sees one neighbour). At a merge, units with fields of several sizes meet: the
smallest and the largest are kept apart from there on. Residual blocks count by their convolutions.

The equation takes each level's grid as aligned. Where a coarse pixel straddles the edge of a field,
all of it counts, so the true largest field of a top-down network can exceed the equation's by less
than the coarsest factor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from arches.backbones import declaration
from arches.declaration import Backbone
from arches.layers.filters import blur_width
from arches.options import Options
from arches.plan import BlockPlan, ConvPlan, DensePlan, Plan, PoolPlan, Position
from arches.topdown import plan_network


@dataclass(frozen=True, slots=True)
class Field:
    """Receptive field at the output of one unit.

    Attributes:
        name: of the unit, as in the plan.
        stride: cumulative stride, in pixels of the image.
        smallest: side in pixels of the smallest field that reaches the output.
        largest: side in pixels of the largest; differs from the smallest after a merge.
    """

    name: str
    stride: int
    smallest: int
    largest: int

    def after(self, name: str, kernel: int, stride: int = 1) -> Field:
        """The field after a layer of that kernel and stride (Equation 1)."""
        wider = (kernel - 1) * self.stride
        return Field(name, self.stride * stride, self.smallest + wider, self.largest + wider)


def receptive_fields(
    name: str | Backbone, variant: str = "bu", **options: Any
) -> tuple[Field, ...]:
    """Receptive fields of a network by Equation (1), in order of depth.

    Args:
        name: of a backbone, or a declaration.
        variant: one of :data:`arches.VARIANTS`.
        **options: see :class:`arches.options.Options`; downsampling and upsampling matter.

    Returns:
        One field for each unit; the last, ``head``, is that of the map in front of the average.

    Raises:
        ValueError: for a wrong name, variant or option.
    """
    chosen = Options.parse(options)
    return plan_fields(plan_network(declaration(name), variant, options=chosen), chosen)


def plan_fields(plan: Plan, options: Options) -> tuple[Field, ...]:
    """The fields of a plan; see :func:`receptive_fields`."""
    fields: list[Field] = []
    for position in plan.positions:
        _extend(fields, plan, position, options)
    kernel = 1 if isinstance(plan.head, DensePlan) else plan.head.score.kernel
    fields.append(fields[-1].after("head", kernel))
    return tuple(fields)


def _extend(fields: list[Field], plan: Plan, position: Position, options: Options) -> None:
    """Append the fields of one position to those of the positions before."""
    if position.stem is not None:
        below = fields[-1] if fields else None
        stem = _stem(plan, position.stem, position.factor, options)
        fields.append(stem)
        if below is not None:
            fields.append(_merge(position, below, stem, options))
        if position.fuse is not None:
            fields.append(fields[-1].after(position.fuse.name, position.fuse.kernel))
    for part in (position.pool, *position.layers):
        if part is not None:
            fields.append(_layer(fields[-1], part))


def _stem(plan: Plan, stem: ConvPlan, factor: int, options: Options) -> Field:
    """A stem sees the blur of its scale, widened by its own kernel."""
    blur = blur_width(factor, options.downsampling, plan.backbone.blur_sigma)
    return Field(stem.name, factor, blur, blur).after(stem.name, stem.kernel)


def _merge(position: Position, below: Field, stem: Field, options: Options) -> Field:
    """Where the map from below and the stem meet, smallest and largest come apart."""
    risen = replace(below, stride=position.factor)
    if options.upsampling == "bilinear":
        risen = Field(
            risen.name, risen.stride, below.smallest + below.stride, below.largest + below.stride
        )
    if position.rise is not None:
        risen = _layer(risen, position.rise)
    return Field(
        position.merge_name,
        position.factor,
        min(risen.smallest, stem.smallest),
        max(risen.largest, stem.largest),
    )


def _layer(field: Field, part: ConvPlan | BlockPlan | PoolPlan) -> Field:
    if isinstance(part, BlockPlan):
        field = field.after(part.name, part.kernel, part.stride)
        return field.after(part.name, part.kernel)
    return field.after(part.name, part.kernel, part.stride if isinstance(part, PoolPlan) else 1)
