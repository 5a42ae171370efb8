"""Rows of the support matrix: a name in each variant, and what became of it."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import nn

from arches.analysis.attention import fused_attention
from arches.analysis.cost import is_recurrent, without_onednn
from arches.analysis.counter import OperationCounter
from arches.backbones import DECLARATIONS
from arches.factory import create
from arches.inversion.errors import InversionError
from arches.inversion.invert import invert, stages
from arches.support import FINAL, NATIVE, NOT_MEASURED, OK, UNSUPPORTED, Row

# How torch and the system say that there is no memory left.
_MEMORY = ("can't allocate memory", "cannot allocate memory", "not enough memory", "bad_alloc")


class Count(NamedTuple):
    """Trainable values of a network, and FLOPs of one forward pass of one image."""

    parameters: int
    flops: int


def attempt(name: str, family: str, kind: str, variants: list[str], size: int = 64) -> list[Row]:
    """Build, check and measure a model in each variant.

    Args:
        name: as :func:`arches.invert` or :func:`arches.create` takes it.
        family: for the rows.
        kind: for the rows.
        variants: to try.
        size: side in pixels to try first; then that of the model's own images.
    """
    sides = tuple(dict.fromkeys((size, _native_size(name))))
    plain: dict[int, Count | None] = {}
    # One reason holds for all inverted variants, where it is of this kind.
    final = _isotropic(name) if kind == "isotropic" else None
    rows: list[Row] = []
    for variant in variants:
        row = Row(name, family, kind, variant, UNSUPPORTED, final or "")
        if variant == "bu" or final is None:
            row = _tried(row, sides, plain)
            if variant != "bu" and row.is_final:
                final = row.reason
        rows.append(row)
    return rows


def _tried(row: Row, sides: tuple[int, ...], plain: dict[int, Count | None]) -> Row:
    """The row of a variant, filled in; costs of the model itself are kept in `plain`."""
    reason = ""
    for side in sides:
        try:
            network = _build(row.name, row.variant, side)
            if row.variant == "bu" or row.name in DECLARATIONS:
                _run(network, side)
            parameters, flops = _ratios(row, network, side, plain)
        except Exception as error:  # whatever a model raises is an answer
            said = _reason(error)
            if said.startswith("memory:"):
                return row._replace(status=NOT_MEASURED, reason=said)
            reason = reason or said
            if isinstance(error, InversionError) and error.reason in FINAL:
                break
            continue
        status = OK if side == sides[0] else NATIVE
        row = row._replace(status=status, reason=reason, image_size=side)
        return row._replace(parameters=parameters, flops=flops)
    return row._replace(reason=reason)


def _build(name: str, variant: str, side: int) -> nn.Module:
    if name in DECLARATIONS:
        return create(name, variant)
    return invert(name, variant, image_size=side)


def _isotropic(name: str) -> str | None:
    """The refusal of a model with one resolution, read on the meta device: some are large."""
    try:
        with torch.device("meta"):
            stages(name)
    except InversionError as error:
        return _reason(error) if error.reason == "isotropic" else None
    except Exception:  # some models read values while they run, which the meta device lacks
        return None
    return None


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    short = getattr(error, "reason", type(error).__name__)
    if isinstance(error, MemoryError) or any(word in text for word in _MEMORY):
        short = "memory"
    return f"{short}: {text[:200]}"


def _native_size(name: str) -> int:
    home, _, rest = name.partition("/")
    if name in DECLARATIONS:
        return DECLARATIONS[name].image_size
    if home != "timm":
        return 299 if rest == "inception_v3" else 224
    settings = importlib.import_module("timm.models").get_pretrained_cfg(rest)
    return int(settings.input_size[-1]) if settings is not None and settings.input_size else 224


def _run(network: nn.Module, side: int) -> None:
    logits = network.train()(torch.randn(2, 3, side, side))
    logits.sum().backward()
    network.zero_grad(set_to_none=True)


def _ratios(
    row: Row, network: nn.Module, side: int, plain: dict[int, Count | None]
) -> tuple[float | None, float | None]:
    """Parameters and FLOPs over those of the model itself, if both can be had at that size."""
    own = _count(network, side)
    if row.variant == "bu":
        plain[side] = own
    elif side not in plain:
        plain[side] = _plain_count(row.name, side)
    base = plain[side]
    if own is None or base is None:
        return None, None
    return own.parameters / max(base.parameters, 1), own.flops / max(base.flops, 1)


def _plain_count(name: str, side: int) -> Count | None:
    try:
        network = _build(name, "bu", side)
    except Exception:  # the model itself does not run at a size where its stages do
        return None
    return _count(network, side)


def _count(network: nn.Module, side: int) -> Count | None:
    """Counted while it runs on the CPU: at these sizes quicker than a reading on meta."""
    images = torch.randn(1, getattr(network, "in_chans", 3), side, side)
    plain = without_onednn() if is_recurrent(network) else nullcontext()
    try:
        # Kernels for whole layers would hide their products.
        with fused_attention(), plain, torch.no_grad(), OperationCounter() as counter:
            network.eval()(images)
    except Exception:  # as above
        return None
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Count(parameters, 2 * counter.products)
