"""The words in which a backbone is declared: stages of layers, and the family's conventions.

A declaration is plain data about the *bottom-up* network. Everything else follows from it: the
bottom-up network itself (:mod:`arches.bottomup`) and its top-down variants (:mod:`arches.topdown`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Order = Literal["post", "pre"]
"""``post``: convolution, BN, ReLU. ``pre``: residual blocks of BN, ReLU, convolution."""

Init = Literal["glorot_uniform", "he_normal"]


@dataclass(frozen=True, slots=True)
class Norm:
    """Constants of batch normalisation; ``momentum`` is the weight of the new batch (torch's)."""

    momentum: float
    eps: float


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution (``post``) or one residual block of two convolutions (``pre``)."""

    kernel: int
    width: int


@dataclass(frozen=True, slots=True)
class Pool:
    """Max-pooling with TensorFlow's "same" padding."""

    kernel: int
    stride: int


@dataclass(frozen=True, slots=True)
class Stage:
    """The layers that run at one resolution.

    Attributes:
        factor: how often the side of the image is divided at this stage (1 is full resolution).
        layers: what runs here; empty for a stage that has nothing but the stem.
        pool: how the stage is entered. Without it the first block strides.
    """

    factor: int
    layers: tuple[Layer, ...]
    pool: Pool | None = None


@dataclass(frozen=True, slots=True)
class Backbone:
    """A bottom-up network with the conventions of its family.

    Attributes:
        name: under which :func:`arches.create` knows it.
        summary: one line for people.
        in_chans: channels of the paper's images, and ``image_size`` their side in pixels.
        stages: finest first.
        order: where the activation sits.
        norm: constants of batch normalisation.
        init: how kernels are drawn; biases start at zero.
        stem: the bare convolution in front of the blocks (``pre`` only; a ``post`` network has
            none, its first layer does that work).
        dropout: probability of dropping a value after each pool, and after each merge.
        uniform_width: the width of every layer of ``td_uni``.
        stem_merge_norm: constants of the BN in the merge that follows a position without blocks.
        blur_sigma: standard deviation in pixels of the sampled ``gaussian`` downsampling; ``None``
            is half the factor.
        bu_unregularised: layers of the bottom-up network whose kernels are not regularised.
        td_unregularised: the same for the top-down variants.
        paper_variants: the variants that exist in the paper.
    """

    name: str
    summary: str
    in_chans: int
    image_size: int
    stages: tuple[Stage, ...]
    order: Order
    norm: Norm
    init: Init
    uniform_width: int
    stem: Layer | None = None
    dropout: float = 0.0
    stem_merge_norm: Norm | None = None
    blur_sigma: float | None = None
    bu_unregularised: tuple[str, ...] = ()
    td_unregularised: tuple[str, ...] = ()
    paper_variants: tuple[str, ...] = ("bu", "td", "td_uni", "td_rev")


def convs(kernel: int, *widths: int) -> tuple[Layer, ...]:
    """A spatial convolution followed by 1 x 1 convolutions, one for each further width."""
    leading, *others = widths
    return (Layer(kernel, leading), *(Layer(1, width) for width in others))


def blocks(width: int, count: int) -> tuple[Layer, ...]:
    """A number of residual blocks of 3 x 3 convolutions with one width."""
    return (Layer(3, width),) * count
