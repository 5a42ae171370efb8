"""From class activation maps to heatmaps: scaled to [0, 1] and to the size of the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Added above and below by the authors' script (facts of the paper, section 6c).
OFFSET = 1e-10
# Added below by the package grad-cam.
FLOOR = 1e-7
# A map that varies by less, relative to its largest value, holds nothing but rounding errors.
FLAT = 1e-6


def paper_heatmap(cam: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Scale maps as the paper's authors do (facts of the paper, section 6c).

    The map less its mean is divided by its matrix 2-norm, with 1e-10 added above and below, resized
    with half-pixel centres, cut off at 0 and divided by its maximum. The division by the norm is
    left out: that positive factor passes through the resizing and the cut, and the last division
    takes it out again.

    Args:
        cam: float32 or float64 N x h x w.
        size: H and W of the image.

    Returns:
        float32 N x H x W in [0, 1], 1 at the maximum; bool N, true where the map is constant, not
        finite, or its deviations from the mean are below the 1e-10 that would then be all there is
        to see (the authors' scaling gives 1 everywhere), or what is left of them in an image
        smaller than the map is, or is below a millionth of them. Such a heatmap is 0 everywhere.
    """
    flat = cam.flatten(1)
    largest = flat.abs().amax(1)
    centred = cam - flat.mean(1)[:, None, None]
    deviation = centred.flatten(1).abs().amax(1)
    heat = resize(centred + OFFSET, size).clamp(min=0)
    top = heat.flatten(1).amax(1)
    defined = (deviation > OFFSET) & (deviation > FLAT * largest) & top.isfinite()
    # Resized to fewer pixels, deviations may cancel, and the offset or rounding is all there is.
    defined &= top - OFFSET > (FLAT * deviation).clamp(min=OFFSET)
    return _scaled(heat, top, defined)


def minmax_heatmap(cam: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Scale maps as the package grad-cam 1.5.7 does for one layer.

    In its order: cut off at 0; less the minimum, divided by the maximum + 1e-7; resized with
    half-pixel centres; then once more less the minimum, divided by the maximum + 1e-7. So the
    maximum is 1 less about 1e-7, and the minimum of every heatmap is 0.

    Args:
        cam: float32 or float64 N x h x w.
        size: H and W of the image.

    Returns:
        float32 N x H x W in [0, 1]; bool N, true where the map has no positive value, is constant
        or not finite, or is so small that 1e-7 swallows it (peak below one half). Such a heatmap is
        0 everywhere, where the package gives zeros, rounding errors scaled up, or NaN.
    """
    cut = cam.clamp(min=0)
    largest = cut.flatten(1).amax(1)
    first, spread = _stretched(cut)
    heat, _ = _stretched(resize(first, size))
    top = heat.flatten(1).amax(1)
    defined = (spread > FLAT * largest) & (top > 0.5) & spread.isfinite() & top.isfinite()
    return _scaled(heat, torch.ones_like(top), defined)


def _stretched(x: Tensor) -> tuple[Tensor, Tensor]:
    """Maps less their minima, divided by their maxima + 1e-7; and these maxima."""
    raised = x - x.flatten(1).amin(1)[:, None, None]
    top = raised.flatten(1).amax(1)
    return raised / (top + FLOOR)[:, None, None], top


def _scaled(heat: Tensor, top: Tensor, defined: Tensor) -> tuple[Tensor, Tensor]:
    scaled = torch.where(defined[:, None, None], heat / top[:, None, None], 0.0)
    return scaled.float(), ~defined


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, with half-pixel centres and without low-pass: N x h x w to N x H x W, larger or
    smaller, as OpenCV's INTER_LINEAR."""
    if tuple(maps.shape[1:]) == size:
        return maps
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
