"""The five backbones of the paper, declared as data (paper, section 4 and Table 1)."""

from __future__ import annotations

from arches.choices import unknown
from arches.declaration import Backbone, Layer, Norm, Pool, Stage, blocks, convs

_PLAIN_NORM = Norm(momentum=0.01, eps=1e-3)
_RESIDUAL_NORM = Norm(momentum=0.1, eps=1e-5)

LENET_FC = Backbone(
    name="lenet_fc",
    summary="LeNetFC: LeNet made fully convolutional, 3 stages (MNIST, Fashion-MNIST)",
    in_chans=1,
    image_size=28,
    stages=(
        Stage(1, convs(5, 6)),
        Stage(2, convs(5, 16), pool=Pool(2, 2)),
        Stage(4, convs(3, 32), pool=Pool(2, 2)),
    ),
    order="post",
    norm=_PLAIN_NORM,
    init="glorot_uniform",
    uniform_width=16,
    td_unregularised=("in1", "in2", "in4"),
)


def _nin_stages(scale: int) -> tuple[Stage, ...]:
    wide, middle, narrow = 48 * scale, 40 * scale, 24 * scale
    return (
        Stage(1, convs(5, wide, middle, narrow)),
        Stage(2, convs(5, wide, wide, wide), pool=Pool(3, 2)),
        Stage(4, convs(3, wide, wide), pool=Pool(3, 2)),
    )


NIN_LIGHT = Backbone(
    name="nin_light",
    summary="NIN-light: Network in Network at a quarter of its widths (MNIST, Fashion-MNIST)",
    in_chans=1,
    image_size=28,
    stages=_nin_stages(1),
    order="post",
    norm=_PLAIN_NORM,
    init="glorot_uniform",
    uniform_width=48,
    dropout=0.5,
)

NIN = Backbone(
    name="nin",
    summary="NIN: Network in Network, 3 stages of a spatial and 1 x 1 convolutions (CIFAR-10)",
    in_chans=3,
    image_size=32,
    stages=_nin_stages(4),
    order="post",
    norm=_PLAIN_NORM,
    init="glorot_uniform",
    uniform_width=192,
    dropout=0.5,
    bu_unregularised=("cls",),
)

RESNET32 = Backbone(
    name="resnet32",
    summary="ResNet32: pre-activated residual blocks, 3 stages of 5 (CIFAR-10)",
    in_chans=3,
    image_size=32,
    stages=(Stage(1, blocks(16, 5)), Stage(2, blocks(32, 5)), Stage(4, blocks(64, 5))),
    order="pre",
    norm=_RESIDUAL_NORM,
    init="he_normal",
    uniform_width=32,
    stem=Layer(3, 16),
)

# The full-resolution stage has the stem alone: the pool right behind it opens the first blocks.
RESNET18_HALF = Backbone(
    name="resnet18_half",
    summary="ResNet18 at half its widths: pre-activated blocks, 4 stages of 2 (Imagenette)",
    in_chans=3,
    image_size=128,
    stages=(
        Stage(1, ()),
        Stage(2, blocks(32, 2), pool=Pool(3, 2)),
        Stage(4, blocks(64, 2)),
        Stage(8, blocks(128, 2)),
        Stage(16, blocks(256, 2)),
    ),
    order="pre",
    norm=_RESIDUAL_NORM,
    init="he_normal",
    uniform_width=64,
    stem=Layer(3, 32),
    stem_merge_norm=Norm(momentum=0.01, eps=1e-3),
    blur_sigma=1.0,
    paper_variants=("bu", "td"),
)

DECLARATIONS: dict[str, Backbone] = {
    backbone.name: backbone for backbone in (LENET_FC, NIN_LIGHT, NIN, RESNET32, RESNET18_HALF)
}

BACKBONES: dict[str, str] = {name: backbone.summary for name, backbone in DECLARATIONS.items()}
"""Name of each backbone and its one-line summary."""

VARIANTS: dict[str, str] = {
    "bu": "bottom-up: the backbone as published, fine to coarse",
    "td": "top-down: stages and widths mirrored, coarse to fine",
    "td_uni": "top-down with one width everywhere",
    "td_rev": "top-down with the bottom-up order of widths, widest at full resolution",
}
"""Name of each variant and its one-line summary (paper, section 3.3)."""


def names() -> tuple[str, ...]:
    """Names of the backbones that :func:`arches.create` builds."""
    return tuple(DECLARATIONS)


def declaration(name: str | Backbone) -> Backbone:
    """The declaration of a backbone; a declaration itself is handed back.

    Raises:
        ValueError: when there is no backbone of that name; the message lists the names.
    """
    if isinstance(name, Backbone):
        return name
    if not isinstance(name, str) or name not in DECLARATIONS:
        raise unknown("backbone", name, DECLARATIONS)
    return DECLARATIONS[name]
