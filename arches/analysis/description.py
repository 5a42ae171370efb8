"""What a network consists of and what it costs, in numbers: the table behind ``bench describe``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One part of the network: a unit, or a stage of a model.

    Attributes:
        depth: position in depth, from 1.
        name: short; in the paper's networks as in the exchange format of weights.
        resolution: height and width of the output in pixels, (1, 1) where it is no map; ``None``
            where that is not known.
        operation: in words.
        in_width: channels that enter; ``None`` where that is not known.
        width: channels that leave; likewise.
        parameters: number of trainable values; what several rows share counts in the first.
        flops: per image, 2 x multiply-accumulates.
        output_bytes: size of the output per image, in single precision.
        activation_bytes: per image, what training keeps of this unit for the backward pass.
        field_smallest: side in pixels of the smallest receptive field, one for each scale of the
            image; ``None`` where it is not known.
        field_largest: side in pixels of the largest; likewise.
        field_cut: whether the border of the image cuts the largest, so that it is at least that.
    """

    depth: int
    name: str
    resolution: tuple[int, int] | None
    operation: str
    in_width: int | None
    width: int | None
    parameters: int
    flops: int
    output_bytes: int
    activation_bytes: int
    field_smallest: int | None
    field_largest: int | None
    field_cut: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a network; per image where memory or FLOPs depend on the batch.

    Attributes:
        parameters: number of trainable values.
        statistics: number of values that are kept and not trained, such as BN's moving statistics.
        flops: of one forward pass, 2 x multiply-accumulates; a training step takes about 3 times.
        activation_bytes: what training keeps per image between forward and backward.
        training_bytes: weights, gradients, momentum and statistics, plus the activations of one
            image.
        inference_activation_bytes: most maps held at once, per image.
        inference_bytes: weights and statistics plus these maps, for one image.
        unused: how many of the parameters a pass does not depend on.
    """

    parameters: int
    statistics: int
    flops: int
    activation_bytes: int
    training_bytes: int
    inference_activation_bytes: int
    inference_bytes: int
    unused: int = 0


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
        origin: where it comes from else, in words.
        scales: factors at which the image is read, finest first.
        rows: one for each unit, in order of depth.
        other: what lies between the rows: downsampling and dropout (FLOPs and activations).
        totals: of this network.
        baseline: totals of the bottom-up network with the same options; ``None`` where there is
            none to compare with.
        features: measured receptive fields of the named feature maps; empty if not asked for.
        fields: how the receptive fields of the rows are known: ``equation`` (Equation 1 of the
            paper), ``measured`` (by gradients), or empty where they were not asked for.
        remarks: what a reader should know beside the numbers, a line each.
    """

    name: str
    variant: str
    in_chans: int
    num_classes: int
    image_size: int
    from_paper: bool
    origin: str
    scales: tuple[int, ...]
    rows: tuple[Row, ...]
    other: tuple[int, int]
    totals: Totals
    baseline: Totals | None
    features: tuple[FeatureField, ...]
    fields: str
    remarks: tuple[str, ...]

    @property
    def ratios(self) -> dict[str, float]:
        """Each total over that of the bottom-up network, of parameters those that are used; empty
        where there is none."""
        if self.baseline is None:
            return {}
        own, other = (_comparable(totals) for totals in (self.totals, self.baseline))
        return {key: own[key] / other[key] for key in own if other[key]}

    def as_dict(self) -> dict[str, Any]:
        """Everything as numbers, texts, lists and dictionaries, ready for JSON."""
        return {**dataclasses.asdict(self), "ratios": self.ratios}

    def text(self, width: int = 100) -> str:
        """The description as a table for a terminal of that many columns (at least 80)."""
        from arches.analysis.description_text import render

        return render(self, width)


def _comparable(totals: Totals) -> dict[str, int]:
    values = dataclasses.asdict(totals)
    values["parameters"] -= values.pop("unused")
    return values
