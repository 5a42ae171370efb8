"""The one rule that turns a bottom-up declaration upside down (paper, sections 3.2 and 3.3).

A bottom-up network runs its stages fine to coarse; the resolutions of its positions are a sequence
such as 1, 1/2, 1/4. The rule:

1. *Resolution.* Depth position d gets the d-th resolution of the reversed sequence. Nothing pools
   or strides; between positions a map is upsampled.
2. *Layers.* ``td`` takes the stages' lists in reversed order. ``td_uni`` does too, with one width
   for all. ``td_rev`` keeps the lists in their own order, except that each leading kernel is the
   one that the backbone has at that resolution.
3. *Stem.* Every position reads the image at its own scale through a convolution with the kernel of
   its leading layer and the width of that layer.
4. *First position.* The stem, then the list; in a ``post`` network the stem is the leading layer.
5. *Later positions.* A merge with the map from below, then the whole list: project it to the stem's
   width where widths differ (at low resolution, where it is cheap), upsample, add the stem,
   concatenate [sum, stem], and fuse back to the stem's width by 3 x 3. In a ``pre`` network the
   first block of the list does the projecting and upsampling, and the merge follows its addition.
6. *Head.* Unchanged, fed by the last width, at full resolution.

A stage that is a stem alone keeps its place in front: a position without list, at the coarsest
resolution, as wide as the list after it; the merge that follows is not part of a block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from arches.bottomup import block_list, bottom_up, conv_list, head, out_width
from arches.choices import require_choice, require_count
from arches.declaration import Backbone, Layer, Norm
from arches.options import Options
from arches.plan import BlockPlan, ConvPlan, Plan, Position

TOP_DOWN = ("td", "td_uni", "td_rev")


def plan_network(
    backbone: Backbone,
    variant: str = "bu",
    in_chans: int = 3,
    num_classes: int = 10,
    options: Options | None = None,
) -> Plan:
    """The plan of a variant of a backbone.

    Args:
        backbone: the declaration.
        variant: ``bu``, ``td``, ``td_uni`` or ``td_rev``.
        in_chans: channels of the image.
        num_classes: number of logits.
        options: defaults to those of the paper.

    Raises:
        ValueError: for a wrong variant (the message names the choices) or a count below 1.
    """
    require_choice("variant", variant, ("bu", *TOP_DOWN))
    require_count("in_chans", in_chans)
    require_count("num_classes", num_classes)
    options = options or Options()
    if variant == "bu":
        return bottom_up(backbone, in_chans, num_classes, options)
    return _top_down(backbone, variant, in_chans, num_classes, options)


@dataclass(frozen=True, slots=True)
class Level:
    """What the rule assigns to one depth position."""

    factor: int
    stem: Layer
    layers: tuple[Layer, ...]


def arrange(backbone: Backbone, variant: str, width: int | None = None) -> tuple[Level, ...]:
    """Points 1 to 3 of the rule: resolution, stem and list of each depth position.

    Args:
        backbone: the declaration.
        variant: ``td``, ``td_uni`` or ``td_rev``.
        width: of ``td_uni``; the declared uniform width where ``None``.

    Returns:
        One level for each position, coarsest first.
    """
    listed = [stage.layers for stage in backbone.stages if stage.layers]
    mirrored = listed[::-1]
    lists = mirrored
    if variant == "td_uni":
        uniform = width or backbone.uniform_width
        lists = [tuple(replace(layer, width=uniform) for layer in layers) for layers in mirrored]
    elif variant == "td_rev":
        lists = [
            (replace(own[0], kernel=mirror[0].kernel), *own[1:])
            for own, mirror in zip(listed, mirrored, strict=True)
        ]
    stem_only: list[tuple[Layer, ...]] = [()] * (len(backbone.stages) - len(lists))
    stems = [lists[0][0]] * len(stem_only) + [layers[0] for layers in lists]
    factors = [stage.factor for stage in reversed(backbone.stages)]
    levels = zip(factors, stems, stem_only + lists, strict=True)
    return tuple(Level(factor, stem, layers) for factor, stem, layers in levels)


def _top_down(
    backbone: Backbone, variant: str, in_chans: int, num_classes: int, options: Options
) -> Plan:
    norm = options.norm(backbone.norm)
    positions: list[Position] = []
    for level in arrange(backbone, variant, options.width):
        post = backbone.order == "post"
        stem = ConvPlan(
            name=f"in{level.factor}",
            kernel=level.stem.kernel,
            in_width=in_chans,
            width=level.stem.width,
            form="conv-bn-relu" if post else "conv",
            norm=norm,
        )
        below = positions[-1] if positions else None
        if below is None:
            positions.append(_first(backbone, level, stem))
        elif post:
            positions.append(_merged_by_layer(backbone, level, stem, below, options))
        else:
            positions.append(_merged_by_block(backbone, level, stem, below, options))
    return Plan(
        backbone=backbone,
        variant=variant,
        in_chans=in_chans,
        positions=tuple(positions),
        head=head(backbone, out_width(positions[-1]), num_classes, norm),
        unregularised=backbone.td_unregularised,
    )


def _first(backbone: Backbone, level: Level, stem: ConvPlan) -> Position:
    """Point 4: the coarsest position has nothing to merge with."""
    name = f"t{level.factor}"
    layers: tuple[ConvPlan | BlockPlan, ...]
    if backbone.order == "post":
        layers = conv_list(name, level.layers[1:], stem.width, stem.norm, first=2)
    else:
        layers = block_list(name, level.layers, stem.width, stem.norm)
    return Position(level.factor, layers, stem=stem)


def _merged_by_layer(
    backbone: Backbone, level: Level, stem: ConvPlan, below: Position, options: Options
) -> Position:
    """Point 5 in a ``post`` network: merge, dropout, and the whole list."""
    factor, width, norm = level.factor, stem.width, stem.norm
    low = out_width(below)
    proj = ConvPlan(f"m{factor}.proj", 1, low, width, "conv-bn-relu", norm)
    fuse = ConvPlan(f"m{factor}.fuse", 3, 2 * width, width, "conv-bn-relu", norm)
    return Position(
        factor=factor,
        layers=conv_list(f"t{factor}", level.layers, width, norm),
        stem=stem,
        rise=proj if low != width else None,
        fuse=fuse if options.merge == "concat" else None,
        dropout=backbone.dropout if options.dropout is None else options.dropout,
    )


def _merged_by_block(
    backbone: Backbone, level: Level, stem: ConvPlan, below: Position, options: Options
) -> Position:
    """Point 5 in a ``pre`` network: the merge sits in the first block, after its addition."""
    factor, width, norm = level.factor, stem.width, stem.norm
    rise: BlockPlan | None = None
    rest = block_list(f"t{factor}", level.layers, width, norm)
    fuse_name, fuse_norm = f"t{factor}.b0.fuse", norm
    if below.layers or below.rise:
        leading = level.layers[0]
        rise = BlockPlan(f"t{factor}.b0", leading.kernel, out_width(below), width, norm)
        rest = rest[1:]
    else:
        fuse_name, fuse_norm = f"m{factor}.fuse", _stem_merge_norm(backbone, options)
    fuse = ConvPlan(fuse_name, 3, 2 * width, width, "bn-relu-conv", fuse_norm)
    return Position(
        factor=factor,
        layers=rest,
        stem=stem,
        rise=rise,
        fuse=fuse if options.merge == "concat" else None,
        dropout=backbone.dropout if options.dropout is None else options.dropout,
    )


def _stem_merge_norm(backbone: Backbone, options: Options) -> Norm:
    return options.norm(backbone.stem_merge_norm or backbone.norm)
