"""The bottom-up network of a declaration: its stages in their own order, fine to coarse."""

from __future__ import annotations

from arches.declaration import Backbone, Layer, Norm, Stage
from arches.options import Options
from arches.plan import BlockPlan, ConvPlan, DensePlan, Plan, PoolPlan, Position, ScorePlan


def bottom_up(backbone: Backbone, in_chans: int, num_classes: int, options: Options) -> Plan:
    """The plan of the backbone as it was published.

    Args:
        backbone: the declaration.
        in_chans: channels of the image.
        num_classes: number of logits.
        options: of these only BN constants and dropout matter here.

    Returns:
        A plan whose first position reads the image and whose others read the position before.
    """
    norm = options.norm(backbone.norm)
    dropout = backbone.dropout if options.dropout is None else options.dropout
    positions: list[Position] = []
    width, number = in_chans, 0
    for stage in backbone.stages:
        number += bool(stage.layers)
        place = (
            _enter(backbone, stage, f"s{number}", width, norm, dropout, positions[-1].factor)
            if positions
            else _first(backbone, stage, f"s{number}", in_chans, norm)
        )
        positions.append(place)
        width = out_width(place)
    return Plan(
        backbone=backbone,
        variant="bu",
        in_chans=in_chans,
        positions=tuple(positions),
        head=head(backbone, width, num_classes, norm),
        unregularised=backbone.bu_unregularised,
    )


def _first(backbone: Backbone, stage: Stage, name: str, in_chans: int, norm: Norm) -> Position:
    """The position that reads the image: in a ``post`` network its first layer is the stem."""
    if backbone.order == "post":
        leading = stage.layers[0]
        stem = ConvPlan(f"{name}.c1", leading.kernel, in_chans, leading.width, "conv-bn-relu", norm)
        rest = conv_list(name, stage.layers[1:], stem.width, norm, first=2)
        return Position(stage.factor, rest, stem=stem)
    if backbone.stem is None:
        raise ValueError(f"backbone {backbone.name!r} is pre-activated and must declare its stem.")
    stem = ConvPlan("stem", backbone.stem.kernel, in_chans, backbone.stem.width, "conv", norm)
    return Position(stage.factor, block_list(name, stage.layers, stem.width, norm), stem=stem)


def _enter(
    backbone: Backbone,
    stage: Stage,
    name: str,
    width: int,
    norm: Norm,
    dropout: float,
    previous_factor: int,
) -> Position:
    """A position that is entered by a pool or by a stride of its first block."""
    layers: tuple[ConvPlan | BlockPlan, ...]
    if backbone.order == "post":
        layers = conv_list(name, stage.layers, width, norm)
    else:
        stride = 1 if stage.pool else stage.factor // previous_factor
        layers = block_list(name, stage.layers, width, norm, stride)
    pool: PoolPlan | None = None
    if stage.pool is not None:
        pool = PoolPlan(f"pool{stage.factor}", stage.pool.kernel, stage.pool.stride, width)
    return Position(stage.factor, layers, pool=pool, dropout=dropout)


def conv_list(
    name: str, layers: tuple[Layer, ...], width: int, norm: Norm, first: int = 1
) -> tuple[ConvPlan, ...]:
    """Convolutions ``<name>.c<first>``, ... one after the other, on a map of that width."""
    planned = []
    for number, layer in enumerate(layers, start=first):
        planned.append(
            ConvPlan(f"{name}.c{number}", layer.kernel, width, layer.width, "conv-bn-relu", norm)
        )
        width = layer.width
    return tuple(planned)


def block_list(
    name: str, layers: tuple[Layer, ...], width: int, norm: Norm, stride: int = 1, first: int = 0
) -> tuple[BlockPlan, ...]:
    """Blocks ``<name>.b<first>``, ... one after the other; only the leading one strides."""
    planned = []
    for number, layer in enumerate(layers, start=first):
        planned.append(
            BlockPlan(f"{name}.b{number}", layer.kernel, width, layer.width, norm, stride)
        )
        width, stride = layer.width, 1
    return tuple(planned)


def head(backbone: Backbone, width: int, num_classes: int, norm: Norm) -> ScorePlan | DensePlan:
    """The head, the same in every variant: fed by the last width, at the last resolution."""
    if backbone.order == "post":
        return ScorePlan(ConvPlan("cls", 1, width, num_classes, "conv-bn-relu", norm))
    return DensePlan(width, num_classes, norm)


def out_width(place: Position) -> int:
    """Width of the map that leaves a position."""
    for part in (*reversed(place.layers), place.fuse, place.rise, place.stem):
        if part is not None:
            return part.width
    raise ValueError("a position without layers needs a stem.")
