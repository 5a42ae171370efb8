"""Resampling: images down to a scale, feature maps up to the next one.

Every linear method is separable and written as one small matrix per axis, so border rows, sides
that do not divide, and the backward pass are exact and the same on every device. Nothing is
learned, everything is differentiable: an attack sees through it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from arches.layers.filters import (
    Rows,
    antialias_rows,
    bilinear_rows,
    level_size,
    repetition,
    sampled_gaussian_rows,
)

_RULES: dict[str, Callable[..., Rows]] = {
    "antialias": antialias_rows,
    "gaussian": sampled_gaussian_rows,
    "bilinear": bilinear_rows,
}


def _build(rule: str, arguments: tuple[float, ...], dtype: torch.dtype, device: str) -> Tensor:
    # A tensor made in inference mode could never take part in a backward pass.
    with torch.inference_mode(False):
        return torch.tensor(_RULES[rule](*arguments), dtype=dtype, device=device)


_kept = functools.lru_cache(maxsize=512)(_build)


def _rows(rule: str, arguments: tuple[float, ...]) -> Rows:
    return _RULES[rule](*arguments)


# All that `torch.compiler.assume_constant_result` does, but for importing the whole compiler: a
# second of every process that compiles nothing.
_rows._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _matrix(rule: str, arguments: tuple[float, ...], like: Tensor) -> Tensor:
    """The matrix of a rule on the device of a tensor, kept for the next call.

    Not kept while tracing or under fake tensors, whose matrices must not leak into real calls.
    """
    if torch.compiler.is_compiling():
        return torch.tensor(_rows(rule, arguments), dtype=like.dtype, device=like.device)
    make = _build if type(like) is not Tensor else _kept
    matrix: Tensor = make(rule, arguments, like.dtype, str(like.device))
    return matrix


def _without_autocast(device: str) -> AbstractContextManager[Any]:
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device_type=device, enabled=False)
    return nullcontext()


def _separable(x: Tensor, rule: str, rows: tuple[float, ...], columns: tuple[float, ...]) -> Tensor:
    """Apply one matrix along H and one along W, in at least single precision."""
    with _without_autocast(x.device.type):
        exact = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        along_width = exact @ _matrix(rule, columns, exact).T
        return (_matrix(rule, rows, exact) @ along_width).to(x.dtype)


def downsample(
    x: Tensor,
    factor: int,
    method: str = "tf",
    sigma: float | None = None,
    partial: bool = False,
) -> Tensor:
    """An image at scale 1/factor, made straight from the full-resolution image.

    Args:
        x: N x C x H x W.
        factor: of the reduction; 1 hands the image back.
        method: one of :data:`arches.options.DOWNSAMPLING`.
        sigma: of ``gaussian``, in pixels; half the factor where ``None``.
        partial: whether last pixels that the image covers in part count.

    Returns:
        N x C x floor(H / factor) x floor(W / factor), or the next whole numbers with ``partial``.
    """
    if factor == 1:
        return x
    height, width = x.shape[-2:]
    rows, columns = level_size(height, factor, partial), level_size(width, factor, partial)
    if method == "tf":
        return _separable(x, "antialias", (height, factor, partial), (width, factor, partial))
    if method == "gaussian":
        sigma = factor / 2 if sigma is None else sigma
        window = (factor, sigma, math.ceil(3 * sigma), partial)
        return _separable(x, "gaussian", (height, *window), (width, *window))
    if method == "pool":
        return functional.max_pool2d(x, factor, ceil_mode=partial)
    if method == "antialias":
        before = (factor - 1) // 2
        after = factor - 1 - before
        padded = functional.pad(x, (before, after, before, after), value=-math.inf)
        dense = functional.max_pool2d(padded, factor, stride=1)
        window = (factor, 0.6, 2, partial)
        return _separable(dense, "gaussian", (height, *window), (width, *window))
    return x[..., ::factor, ::factor][..., :rows, :columns]


def upsample(x: Tensor, size: tuple[int, int], mode: str = "nearest") -> Tensor:
    """A map at a finer resolution.

    Args:
        x: N x C x h x w.
        size: height and width to reach, explicit because sides of scales are rounded.
        mode: ``nearest`` (exact replication) or ``bilinear``.

    Returns:
        N x C x size[0] x size[1].
    """
    if mode == "bilinear":
        rows, columns = (x.shape[-2], size[0]), (x.shape[-1], size[1])
        return _separable(x, "bilinear", rows, columns)
    if all(_doubles(x.shape[axis], size[axis - 2]) for axis in (2, 3)):
        # The fastest replication, and its backward pass gathers, so it is deterministic. Its
        # index arithmetic in floating point is exact for powers of two only.
        return functional.interpolate(x, size=size, mode="nearest")
    return _replicate(_replicate(x, 2, size[0]), 3, size[1])


def _doubles(size: int, target: int) -> bool:
    """Whether the target is the size times a power of two."""
    # Written so that torch.compile can trace it, for sides that it does not know yet.
    return any(size * times == target for times in (1, 2, 4, 8, 16, 32, 64, 128, 256))


def _replicate(x: Tensor, axis: int, target: int) -> Tensor:
    """Repeat values along one axis by copies alone, whose backward pass sums in a fixed order."""
    size = x.shape[axis]
    if size == target:
        return x
    repeat = repetition(size, target)
    if repeat == 0:
        index = [out * size // target for out in range(target)]
        return torch.cat([x.narrow(axis, entry, 1) for entry in index], axis)
    shape = [*x.shape[: axis + 1], repeat, *x.shape[axis + 1 :]]
    tiled = x.unsqueeze(axis + 1).expand(shape).flatten(axis, axis + 1)
    missing = target - size * repeat
    if missing <= 0:
        return tiled.narrow(axis, 0, target)
    return torch.cat([tiled, *[x.narrow(axis, size - 1, 1)] * missing], axis)
