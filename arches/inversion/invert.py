"""The front door of inversion: a top-down network from a model that nobody prepared for it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

from torch import nn

from arches.backbones import VARIANTS
from arches.choices import require_choice, require_count
from arches.code import packages
from arches.inversion.adapters import adapt
from arches.inversion.assemble import arrange, build_stage, without_inplace
from arches.inversion.bottom_up import BottomUp, require_logits, with_small_stem
from arches.inversion.errors import InversionError
from arches.inversion.front import read_front
from arches.inversion.graph import as_graph
from arches.inversion.initial import draw_anew, read_law
from arches.inversion.network import InvertedNetwork, StageBlock
from arches.inversion.observe import observe
from arches.inversion.options import InvertOptions
from arches.inversion.own_head import head_of
from arches.inversion.read import PROBE, read_stages
from arches.inversion.sources import Source, load
from arches.inversion.stages import Stage, Stages
from arches.inversion.training import require_chain
from arches.inversion.verify import verify
from arches.inversion.widths import at_width, repeat_of, targets

StagesLike = Stages | Mapping[str, Any] | Sequence[Mapping[str, Any]]


def invert(
    backbone: str | nn.Module,
    variant: str = "td",
    in_chans: int = 3,
    num_classes: int = 10,
    image_size: int = 64,
    stages: StagesLike | None = None,
    **options: Any,
) -> InvertedNetwork | BottomUp:
    """Turn a bottom-up network into a coarse-to-fine one, and check what came out.

    Args:
        backbone: ``timm/<name>``, ``torchvision/<name>``, ``module:factory`` (called with
            in_chans, num_classes and the ``model`` options), or a module, which is copied.
        variant: ``bu`` is the model as it is; for the others see :data:`arches.VARIANTS`.
        in_chans: channels of the image.
        num_classes: number of logits.
        image_size: side in pixels of the images it is wanted and checked for; others may work too.
        stages: how to cut the model, as :func:`arches.stages` gives it, where that is not to be
            found out, or was edited.
        **options: see :class:`arches.inversion.options.InvertOptions`.

    Returns:
        A module that maps N x in_chans x H x W to logits N x num_classes, with the public surface
        of :class:`arches.Network`.

    Raises:
        InversionError: with the reason, when the model cannot be inverted.
        ValueError: for a wrong name, variant, number or option; the message names the choices.
    """
    chosen = InvertOptions.parse(options)
    require_choice("variant", variant, VARIANTS)
    for name, count in (("in_chans", in_chans), ("num_classes", num_classes)):
        require_count(name, count)
    require_count("image_size", image_size)
    given = None if stages is None else Stages.parse(stages)
    try:
        source = _source(backbone, variant, in_chans, num_classes, chosen)
        return _build(source, variant, in_chans, num_classes, image_size, given, chosen)
    except InversionError as error:
        if error.reason not in ("fixed size", "stage", "forward") or not _resizable(backbone):
            raise
        try:
            # Some models of timm are built for one size of image, which can be asked for.
            source = _source(backbone, variant, in_chans, num_classes, chosen, image_size)
        except InversionError:
            raise error from None
        return _build(source, variant, in_chans, num_classes, image_size, given, chosen)


def stages(
    backbone: str | nn.Module,
    in_chans: int = 3,
    image_size: int = 64,
    **options: Any,
) -> Stages:
    """How :func:`invert` cuts a model, to print, to edit and to feed back.

    Args:
        backbone: as for :func:`invert`.
        in_chans: channels of the image.
        image_size: side in pixels of the images it is wanted for.
        **options: as for :func:`invert`.

    Raises:
        InversionError: where there is nothing to invert, or the stages cannot be told apart.
    """
    chosen = InvertOptions.parse(options)
    return _read(_source(backbone, "td", in_chans, 10, chosen), in_chans, image_size, chosen)


def _resizable(backbone: str | nn.Module) -> bool:
    return isinstance(backbone, str) and backbone.startswith("timm/")


def _source(
    backbone: str | nn.Module,
    variant: str,
    in_chans: int,
    num_classes: int,
    options: InvertOptions,
    image_size: int | None = None,
) -> Source:
    pretrained = options.pretrained and (variant == "bu" or options.init == "from_bu")
    source = load(backbone, in_chans, num_classes, pretrained, options.model, image_size)
    # Now, for neither an adapter's rewriting nor a graph tells whose code it was.
    source = replace(source, packages=packages(source.model))
    without_inplace(source.model)
    if variant == "bu":
        return source
    if source.given and options.init == "fresh":
        draw_anew(source.model)
    sizes = (source.native_size or PROBE, image_size or PROBE)
    return replace(source, model=adapt(source.model, in_chans, sizes))


def _read(source: Source, in_chans: int, image_size: int, options: InvertOptions) -> Stages:
    """The stages of a model; with the small stem, which changes the model, those it then has."""
    found = read_stages(source.model, in_chans, source.native_size, image_size)
    if options.small_stem:
        with_small_stem(source.model, found)
        # Maps as large as before, which the end of the model was made for: one that convolves
        # 7 x 7 pixels to one is no stage. Larger ones would take many times as long, too.
        side = found.probe_size // found.stages[0].reduction
        found = read_stages(source.model, in_chans, source.native_size, image_size, side)
    return found


def _build(
    source: Source,
    variant: str,
    in_chans: int,
    num_classes: int,
    image_size: int,
    given: Stages | None,
    options: InvertOptions,
) -> InvertedNetwork | BottomUp:
    if given is not None and given.split == "modules" and not _has_modules(source.model, given):
        # Names of the copies that reading makes of what is called more than once.
        with contextlib.suppress(InversionError):
            read_stages(source.model, in_chans, source.native_size, image_size)
    if given is not None and options.small_stem:
        with_small_stem(source.model, given)
    if variant == "bu":
        return _bottom_up(source, in_chans, num_classes, image_size, given, options)
    found = given or _read(source, in_chans, image_size, options)
    network = _top_down(source, found, variant, in_chans, num_classes, image_size, options)
    network.packages = source.packages
    verify(network, image_size)
    return network


def _bottom_up(
    source: Source,
    in_chans: int,
    num_classes: int,
    image_size: int,
    given: Stages | None,
    options: InvertOptions,
) -> BottomUp:
    found = given
    if found is None:
        try:
            found = _read(source, in_chans, image_size, options)
        except InversionError:
            # The model as it is needs no stages; it only has no feature maps with names.
            found = None
    model = source.model
    if found is not None and found.split == "graph":
        model = as_graph(model)
    require_logits(model, in_chans, num_classes, image_size, source.native_size)
    if found is not None and not _has_modules(model, found):
        # Stages of what an adapter made of the model, which top-down variants are built from.
        found = None
    network = BottomUp(source.name, model, found, in_chans, num_classes, image_size, options)
    network.packages = source.packages
    return network


def _has_modules(model: nn.Module, found: Stages) -> bool:
    own = {path for path, _ in model.named_modules()}
    return all(path in own for stage in found.stages for path in stage.modules)


def _top_down(
    source: Source,
    found: Stages,
    variant: str,
    in_chans: int,
    num_classes: int,
    image_size: int,
    options: InvertOptions,
) -> InvertedNetwork:
    model = source.model if found.split == "modules" else as_graph(source.model)
    seen = observe(model, found, in_chans)
    if found.split == "modules":  # a graph was compared with its model when it was read
        require_chain(model, found, in_chans)
    end = seen[-1]
    cut = found.stages
    if variant == "td_rev" and options.reading == "baseline":
        # The stages in their own order, each at the resolution of its mirror image.
        reductions = found.reductions[::-1]
        cut = tuple(
            replace(stage, reduction=reduction)
            for stage, reduction in zip(cut, reductions, strict=True)
        )[::-1]
        seen = seen[::-1]
    blocks = [
        build_stage(stage, row, image_size, found.probe_size) if row else None
        for stage, row in zip(cut, seen, strict=True)
    ]
    wanted = {stage.reduction: stage.width for stage in cut}
    if variant == "td_uni" or (variant == "td_rev" and options.reading == "mirrored"):
        wanted = dict(zip(wanted, targets(cut, variant, options.width), strict=True))
        cut, blocks = _at_widths(model, cut, blocks, variant, image_size, options)
    coarse_to_fine = list(zip(cut, blocks, strict=True))[::-1]
    positions = arrange(coarse_to_fine, in_chans, options)
    head, head_note = head_of(model, found, end, positions[-1], in_chans, num_classes)
    front, front_note = read_front(model, found, in_chans)
    own = getattr(source.model, "no_weight_decay", None)
    return InvertedNetwork(
        source=source.name,
        variant=variant,
        stages=found,
        positions=positions,
        in_chans=in_chans,
        num_classes=num_classes,
        image_size=image_size,
        options=options,
        wanted_widths=wanted,
        head=head,
        head_note="; ".join(filter(None, (head_note, front_note))),
        front=front,
        unregularised=own() if callable(own) else (),
    )


def _at_widths(
    model: nn.Module,
    cut: tuple[Stage, ...],
    blocks: Sequence[StageBlock | None],
    variant: str,
    image_size: int,
    options: InvertOptions,
) -> tuple[tuple[Stage, ...], list[StageBlock | None]]:
    """Stages and blocks at the widths of a variant."""
    law = read_law(model)
    made: list[StageBlock | None] = []
    achieved = []
    for stage, block, width in zip(cut, blocks, targets(cut, variant, options.width), strict=True):
        if block is None:
            achieved.append(replace(stage, in_width=width, width=width))
            made.append(None)
            continue
        side = ceil(image_size / stage.reduction)
        found = (
            repeat_of(other, donor, width, side)
            for other, donor in zip(cut, blocks, strict=True)
            if donor is not None and other.width == width
        )
        repeat = next((module for module in found if module is not None), None)
        fresh = at_width(stage, block, width, law, side, repeat, variant == "td_uni")
        made.append(fresh)
        achieved.append(replace(stage, in_width=fresh.in_width, width=fresh.width))
    return tuple(achieved), made
