"""Describing a network: the paper's own, an inverted one, or a model as it is, all alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from arches.analysis.cost import Cost, PartCost
from arches.analysis.description import Description, FeatureField, Row, Totals
from arches.analysis.effective_field import effective_fields
from arches.analysis.measured_field import MeasuredField, measured_fields
from arches.analysis.part_cost import cost_of, costs_of
from arches.analysis.unused import note, unused_in
from arches.backbones import declaration
from arches.choices import require_count
from arches.declaration import Backbone
from arches.factory import create
from arches.inversion.bottom_up import BottomUp
from arches.inversion.errors import first_line
from arches.inversion.invert import invert
from arches.inversion.network import InvertedNetwork
from arches.network import Network
from arches.surface import Part, ScaledNetwork

# Gradient and momentum of SGD beside the weight itself.
_COPIES_IN_TRAINING = 3

# Side in pixels for what has no data set of its own, as of :func:`arches.invert`.
_SIDE = 64


def describe(
    name: str | Backbone | nn.Module,
    variant: str | None = None,
    in_chans: int = 3,
    num_classes: int = 10,
    image_size: int | None = None,
    measured: bool = True,
    **options: Any,
) -> Description:
    """Describe a network: its parts by depth, their cost, and the whole against bottom-up.

    Args:
        name: of a backbone of the paper, a declaration, what :func:`arches.invert` takes
            (``timm/<name>``, ``torchvision/<name>``, ``module:factory``, any module), or a network
            that this package made, which is described as it is.
        variant: one of :data:`arches.VARIANTS`, ``bu`` where ``None``.
        in_chans: channels of the image.
        num_classes: number of logits.
        image_size: side of the image in pixels; where ``None``, that of the network that is given
            or of the backbone's data set, else 64.
        measured: whether receptive fields are measured too, on fresh weights with a fixed seed; the
            only part that computes with real numbers.
        **options: as for :func:`arches.create`, or for :func:`arches.invert` with ``stages``.

    Returns:
        The description.

    Raises:
        ValueError: as :func:`arches.create` and :func:`arches.invert`, for an image that is too
            small, and where the network fails on it.
    """
    if image_size is not None:
        require_count("image_size", image_size)
    # Nobody's random state is touched.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if isinstance(name, ScaledNetwork):
            _require_own(name, variant, options)
            network, plain = name, _bottom_up_of(name)
        elif isinstance(name, nn.Module) or (isinstance(name, str) and _is_model(name)):
            side = image_size or _SIDE
            network, plain = _of_model(name, variant or "bu", in_chans, num_classes, side, options)
        else:
            backbone = declaration(name)
            network = create(backbone, variant or "bu", in_chans, num_classes, **options)
            plain = create(backbone, "bu", in_chans, num_classes, **options)
        return _describe(network, plain, image_size or network.image_size, measured)


def _is_model(name: str) -> bool:
    return "/" in name or ":" in name


def _require_own(network: ScaledNetwork, variant: str | None, options: dict[str, Any]) -> None:
    if variant not in (None, network.variant):
        raise ValueError(f"the given network is {network.variant!r}, not {variant!r}.")
    if options:
        raise ValueError(f"a network that is given takes no options: {', '.join(options)}.")


def _bottom_up_of(network: ScaledNetwork) -> ScaledNetwork | str:
    """The network to compare with, or why there is none."""
    if network.variant == "bu":
        return network
    if isinstance(network, Network):
        chosen = dataclasses.asdict(network.options)
        return create(network.plan.backbone, "bu", network.in_chans, network.num_classes, **chosen)
    if isinstance(network, InvertedNetwork) and _is_model(network.source):
        chosen = {**dataclasses.asdict(network.options), "pretrained": False}
        return _plain(
            network.source, network.in_chans, network.num_classes, network.image_size, chosen
        )
    return "it was made from a module that is not known any more"


def _of_model(
    model: str | nn.Module,
    variant: str,
    in_chans: int,
    num_classes: int,
    side: int,
    options: dict[str, Any],
) -> tuple[ScaledNetwork, ScaledNetwork | str]:
    network = invert(model, variant, in_chans, num_classes, side, **options)
    if variant == "bu":
        return network, network
    # Weights have no cost.
    chosen = {**options, "pretrained": False, "init": "fresh"}
    return network, _plain(model, in_chans, num_classes, side, chosen)


def _plain(
    model: str | nn.Module, in_chans: int, num_classes: int, side: int, options: dict[str, Any]
) -> ScaledNetwork | str:
    try:
        return invert(model, "bu", in_chans, num_classes, side, **options)
    except ValueError as error:
        return first_line(error)


def _describe(
    network: ScaledNetwork, plain: ScaledNetwork | str, side: int, measured: bool
) -> Description:
    network.check(torch.empty(1, network.in_chans, side, side, device="meta"))
    parts = list(network.rows())
    cost = cost_of(network, side)
    costs = costs_of(parts, cost)
    own, baseline, remarks = _totals(network, cost), None, list(network.remarks())
    if isinstance(plain, ScaledNetwork):
        baseline = own if plain is network else _totals(plain, cost_of(plain, side))
        if isinstance(plain, BottomUp) and (unused := unused_in(plain, side)):
            remarks.append(f"{note(unused)}; the ratio of parameters is that of the used ones")
            baseline = dataclasses.replace(baseline, unused=sum(unused.values()))
            own = baseline if plain is network else own
    else:
        remarks.append(f"nothing bottom-up to compare with: {plain.rstrip('.')}")
    how, fields = _fields(network, side, measured, cost)
    return Description(
        name=network.source,
        variant=network.variant,
        in_chans=network.in_chans,
        num_classes=network.num_classes,
        image_size=side,
        from_paper=not network.origin,
        origin=network.origin,
        scales=network.scales,
        rows=tuple(_rows(network, parts, costs, fields)),
        other=(
            cost.flops - sum(part.flops for part in costs),
            cost.saved_bytes - sum(part.saved_bytes for part in costs),
        ),
        totals=own,
        baseline=baseline,
        features=_features(network, side, cost) if measured else (),
        fields=how,
        remarks=tuple(remarks),
    )


Fields = dict[str, MeasuredField]


def _fields(network: ScaledNetwork, side: int, measured: bool, cost: Cost) -> tuple[str, Fields]:
    """Receptive fields by the name of the row, and how they are known."""
    if isinstance(network, Network):
        by_equation = network.receptive_fields()
        return "equation", {
            field.name: MeasuredField(field.smallest, field.largest, False) for field in by_equation
        }
    if not measured:
        return "", {}
    # A backward pass for each row: fewer images where that takes long.
    rows = sum(1 for _ in network.rows())
    samples = min(4, max(1, int(2e10 / (cost.flops * rows + 1))))
    return "measured", measured_fields(network, side, samples)


def _rows(
    network: ScaledNetwork, parts: Sequence[Part], costs: Sequence[PartCost], fields: Fields
) -> Iterator[Row]:
    counted: set[int] = set()
    for part, share in zip(parts, costs, strict=True):
        owner = network if part.rest else nn.ModuleList(part.modules)
        field = fields.get(part.name)
        resolution, width = _map_of(part, share)
        yield Row(
            depth=part.depth,
            name=part.name,
            resolution=resolution,
            operation=part.operation,
            in_width=part.in_width,
            width=width,
            parameters=_fresh(owner, counted),
            flops=share.flops,
            output_bytes=share.output_bytes,
            activation_bytes=share.saved_bytes,
            field_smallest=None if field is None else field.smallest,
            field_largest=None if field is None else field.largest,
            field_cut=field is not None and field.cut,
        )


def _fresh(module: nn.Module, counted: set[int]) -> int:
    """Trainable values that were not counted before."""
    fresh = {id(weight): weight for weight in module.parameters() if weight.requires_grad}
    total = sum(weight.numel() for key, weight in fresh.items() if key not in counted)
    counted.update(fresh)
    return total


def _map_of(part: Part, share: PartCost) -> tuple[tuple[int, int] | None, int | None]:
    """Resolution and width of what leaves a part; tensors side by side are one map."""
    if not part.layout and part.width is None:
        return None, None
    if not share.shapes or any(len(shape) != 4 for shape in share.shapes):
        return (1, 1), part.width
    channels, row = (3, 1) if part.layout == "nhwc" else (1, 2)
    height, width = share.shapes[0][row : row + 2]
    return (height, width), part.width or sum(shape[channels] for shape in share.shapes)


def _totals(network: ScaledNetwork, cost: Cost) -> Totals:
    weights = list(network.parameters())
    moving = [tensor for tensor in network.buffers() if tensor.is_floating_point()]
    weight_bytes, moving_bytes = _bytes(weights), _bytes(moving)
    return Totals(
        parameters=_fresh(network, set()),
        statistics=sum(tensor.numel() for tensor in moving),
        flops=cost.flops,
        activation_bytes=cost.saved_bytes,
        training_bytes=_COPIES_IN_TRAINING * weight_bytes + moving_bytes + cost.saved_bytes,
        inference_activation_bytes=cost.peak_bytes,
        inference_bytes=weight_bytes + moving_bytes + cost.peak_bytes,
    )


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _features(network: ScaledNetwork, side: int, cost: Cost) -> tuple[FeatureField, ...]:
    # A few images are enough, one where a pass takes seconds.
    samples = min(8, max(1, int(4e9 / (cost.flops + 1))))
    return tuple(
        FeatureField(
            name=name,
            width=field.shape[0],
            resolution=(field.shape[1], field.shape[2]),
            measured_side=field.side,
            measured_extent=field.extent,
        )
        for name, field in effective_fields(network, side, samples).items()
    )
