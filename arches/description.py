"""What a network consists of and what it costs: the table behind ``bench describe``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from arches.backbones import declaration
from arches.choices import require_count
from arches.cost import Cost, measure_cost
from arches.declaration import Backbone
from arches.effective_field import effective_fields
from arches.factory import create
from arches.network import Network

# Gradient and momentum of SGD beside the weight itself.
_COPIES_IN_TRAINING = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One unit of the network.

    Attributes:
        depth: position in depth, from 1.
        name: as in the exchange format of weights.
        resolution: height and width of the output in pixels.
        operation: in words.
        in_width: channels that enter.
        width: channels that leave.
        parameters: number of trainable values.
        flops: per image, 2 x multiply-accumulates.
        output_bytes: size of the output per image, in single precision.
        activation_bytes: per image, what training keeps of this unit for the backward pass.
        field_smallest: side in pixels of the smallest receptive field (Equation 1).
        field_largest: side in pixels of the largest.
    """

    depth: int
    name: str
    resolution: tuple[int, int]
    operation: str
    in_width: int
    width: int
    parameters: int
    flops: int
    output_bytes: int
    activation_bytes: int
    field_smallest: int
    field_largest: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a network; per image where memory or FLOPs depend on the batch.

    Attributes:
        parameters: number of trainable values.
        statistics: number of moving statistics of BN.
        flops: of one forward pass, 2 x multiply-accumulates; a training step takes about 3 times.
        activation_bytes: what training keeps per image between forward and backward.
        training_bytes: weights, gradients, momentum and statistics, plus the activations of one
            image.
        inference_activation_bytes: most maps held at once, per image.
        inference_bytes: weights and statistics plus these maps, for one image.
    """

    parameters: int
    statistics: int
    flops: int
    activation_bytes: int
    training_bytes: int
    inference_activation_bytes: int
    inference_bytes: int


@dataclass(frozen=True, slots=True)
class FeatureField:
    """Receptive field of a named feature map: measured side and extent in pixels, and map size."""

    name: str
    width: int
    resolution: tuple[int, int]
    measured_side: float
    measured_extent: int


@dataclass(frozen=True, slots=True)
class Description:
    """A network in numbers; see :func:`describe`.

    Attributes:
        name: of the backbone.
        variant: of it.
        in_chans: channels of the image.
        num_classes: number of logits.
        image_size: side of the image in pixels.
        from_paper: whether the paper has this network.
        scales: factors at which the image is read, finest first.
        rows: one for each unit, in order of depth.
        other: what lies between the units: downsampling and dropout (FLOPs and activations).
        totals: of this network.
        baseline: totals of the bottom-up network with the same options.
        features: measured receptive fields of the named feature maps; empty if not asked for.
    """

    name: str
    variant: str
    in_chans: int
    num_classes: int
    image_size: int
    from_paper: bool
    scales: tuple[int, ...]
    rows: tuple[Row, ...]
    other: tuple[int, int]
    totals: Totals
    baseline: Totals
    features: tuple[FeatureField, ...]

    @property
    def ratios(self) -> dict[str, float]:
        """Each total over that of the bottom-up network."""
        own, other = dataclasses.asdict(self.totals), dataclasses.asdict(self.baseline)
        return {key: own[key] / other[key] for key in own if other[key]}

    def as_dict(self) -> dict[str, Any]:
        """Everything as numbers, texts, lists and dictionaries, ready for JSON."""
        return {**dataclasses.asdict(self), "ratios": self.ratios}

    def text(self, width: int = 100) -> str:
        """The description as a table for a terminal of that many columns (at least 80)."""
        from arches.description_text import render

        return render(self, width)


def describe(
    name: str | Backbone,
    variant: str = "bu",
    in_chans: int = 3,
    num_classes: int = 10,
    image_size: int | None = None,
    measured: bool = True,
    **options: Any,
) -> Description:
    """Describe a network: its units by depth, their cost, and the whole against bottom-up.

    Args:
        name: of a backbone, or a declaration.
        variant: one of :data:`arches.VARIANTS`.
        in_chans: channels of the image.
        num_classes: number of logits.
        image_size: side of the image in pixels; that of the backbone's data set where ``None``.
        measured: whether effective receptive fields are measured too, on fresh weights with a
            fixed seed; the only part that computes with real numbers.
        **options: as for :func:`arches.create`.

    Returns:
        The description.

    Raises:
        ValueError: as :func:`arches.create`, and for an image that is too small.
    """
    backbone = declaration(name)
    side = backbone.image_size if image_size is None else image_size
    require_count("image_size", side)
    with torch.device("meta"):
        model = create(backbone, variant, in_chans, num_classes, **options)
        plain = create(backbone, "bu", in_chans, num_classes, **options)
        images = torch.empty(1, in_chans, side, side)
    units = [unit for _, unit in model.rows()]
    cost = measure_cost(model, images, units)
    features: tuple[FeatureField, ...] = ()
    if measured:
        # A few images are enough, one where a pass takes seconds.
        samples = min(8, max(1, int(4e9 / cost.flops)))
        seeded = _create_seeded(backbone, variant, in_chans, num_classes, options)
        features = _features(seeded, side, samples)
    return Description(
        name=backbone.name,
        variant=variant,
        in_chans=in_chans,
        num_classes=num_classes,
        image_size=side,
        from_paper=model.plan.from_paper,
        scales=model.scales,
        rows=_rows(model, cost),
        other=(
            cost.flops - sum(part.flops for part in cost.parts),
            cost.saved_bytes - sum(part.saved_bytes for part in cost.parts),
        ),
        totals=_totals(model, cost),
        baseline=_totals(plain, measure_cost(plain, images)),
        features=features,
    )


def _create_seeded(
    backbone: Backbone, variant: str, in_chans: int, num_classes: int, options: dict[str, Any]
) -> Network:
    """A network with weights of a fixed seed, without touching torch's random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return create(backbone, variant, in_chans, num_classes, **options)


def _rows(model: Network, cost: Cost) -> tuple[Row, ...]:
    fields = {field.name: field for field in model.receptive_fields()}
    return tuple(
        Row(
            depth=depth,
            name=unit.name,
            resolution=part.resolution,
            operation=unit.operation,
            in_width=unit.in_width,
            width=unit.width,
            parameters=sum(parameter.numel() for parameter in unit.parameters()),
            flops=part.flops,
            output_bytes=part.output_bytes,
            activation_bytes=part.saved_bytes,
            field_smallest=fields[unit.name].smallest,
            field_largest=fields[unit.name].largest,
        )
        for (depth, unit), part in zip(model.rows(), cost.parts, strict=True)
    )


def _totals(model: Network, cost: Cost) -> Totals:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    weight_bytes = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
    moving = [tensor for tensor in model.buffers() if tensor.is_floating_point()]
    moving_bytes = sum(tensor.numel() * tensor.element_size() for tensor in moving)
    return Totals(
        parameters=parameters,
        statistics=sum(tensor.numel() for tensor in moving),
        flops=cost.flops,
        activation_bytes=cost.saved_bytes,
        training_bytes=_COPIES_IN_TRAINING * weight_bytes + moving_bytes + cost.saved_bytes,
        inference_activation_bytes=cost.peak_bytes,
        inference_bytes=weight_bytes + moving_bytes + cost.peak_bytes,
    )


def _features(model: Network, side: int, samples: int) -> tuple[FeatureField, ...]:
    return tuple(
        FeatureField(
            name=name,
            width=field.shape[0],
            resolution=(field.shape[1], field.shape[2]),
            measured_side=field.side,
            measured_extent=field.extent,
        )
        for name, field in effective_fields(model, side, samples).items()
    )
