"""The plan of a network: what it consists of, in order of depth, with all names and widths.

A plan is data without tensors. :mod:`arches.bottomup` and :mod:`arches.topdown` write it from a
declaration, :mod:`arches.network` builds modules from it, and :mod:`arches.receptive_field` reads
it. Its names are the names under which weights are exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from arches.declaration import Backbone, Norm

Form = Literal["conv-bn-relu", "conv", "bn-relu-conv"]


@dataclass(frozen=True, slots=True)
class ConvPlan:
    """One convolution, with the normalisation and activation that belong to it."""

    name: str
    kernel: int
    in_width: int
    width: int
    form: Form
    norm: Norm


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """One pre-activated residual block of two convolutions."""

    name: str
    kernel: int
    in_width: int
    width: int
    norm: Norm
    stride: int = 1

    @property
    def projects(self) -> bool:
        """Whether a 1 x 1 convolution sits on the shortcut."""
        return self.in_width != self.width or self.stride > 1


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """Max-pooling at the entry of a bottom-up position."""

    name: str
    kernel: int
    stride: int
    width: int


@dataclass(frozen=True, slots=True)
class Position:
    """One position in depth: everything that runs at one resolution.

    Attributes:
        factor: how often the side of the image is divided here.
        layers: what runs at this resolution, after the entry.
        stem: the convolution that reads the image at this scale, if one does.
        pool: the pool through which a bottom-up position is entered, if one is.
        rise: what a top-down position does to the map from below on its way up: a projection, a
            block, or nothing but the upsampling.
        fuse: the 3 x 3 convolution on the concatenation; none in an add-only merge.
        dropout: probability of dropping a value at the entry.
    """

    factor: int
    layers: tuple[ConvPlan | BlockPlan, ...]
    stem: ConvPlan | None = None
    pool: PoolPlan | None = None
    rise: ConvPlan | BlockPlan | None = None
    fuse: ConvPlan | None = None
    dropout: float = 0.0

    @property
    def merge_name(self) -> str:
        """Name of the sum in the merge, which owns no weights."""
        return self.rise.name if isinstance(self.rise, BlockPlan) else f"m{self.factor}.up"


@dataclass(frozen=True, slots=True)
class ScorePlan:
    """Head of a ``post`` network: a map of class scores, averaged over the image."""

    score: ConvPlan


@dataclass(frozen=True, slots=True)
class DensePlan:
    """Head of a ``pre`` network: BN, ReLU, average over the image, and a dense layer."""

    in_width: int
    num_classes: int
    norm: Norm


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole network.

    Attributes:
        backbone: the declaration it was written from.
        variant: ``bu``, ``td``, ``td_uni`` or ``td_rev``.
        in_chans: channels of the image.
        positions: in order of depth.
        head: what turns the last map into logits.
        unregularised: names of the layers whose kernels are left out of weight decay.
    """

    backbone: Backbone
    variant: str
    in_chans: int
    positions: tuple[Position, ...]
    head: ScorePlan | DensePlan
    unregularised: tuple[str, ...] = ()

    @property
    def scales(self) -> tuple[int, ...]:
        """Factors of the scales at which the image is read, finest first."""
        return tuple(sorted(place.factor for place in self.positions if place.stem is not None))

    @property
    def total_factor(self) -> int:
        """Factor of the coarsest position; the smallest side that the network can read."""
        return max(place.factor for place in self.positions)

    @property
    def from_paper(self) -> bool:
        """Whether the paper has this network, or only the rule was carried on to it."""
        return self.variant in self.backbone.paper_variants
