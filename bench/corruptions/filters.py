"""Linear filters, resampling and fractals that several corruptions share.

Filters along an axis are matrices (float64, made on the CPU and kept), so that borders are exact
and a batch is filtered by two multiplications.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

# What is beyond the border, by scipy's names: `nearest` a a | a b c, `reflect` b a | a b c,
# `mirror` c b | a b c.
Border = Literal["nearest", "reflect", "mirror"]

# Half a level always rounds up, for a sum's last bits may differ between batches and devices.
HALF = 0.5 + 1e-6

# Weights below leave no trace in 8 bits.
_NEGLIGIBLE = 1e-9


def rounded(levels: Tensor) -> Tensor:
    """Grey levels: whole numbers from 0 to 255, halves up."""
    return levels.add(HALF).floor_().clamp_(0, 255)


def separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Filter or resize N x C x H x W: `rows` (H' x H) along H, `columns` (W' x W) along W."""
    return rows.to(images.device) @ images @ columns.to(images.device).T


def gaussian_blur(images: Tensor, sigma: float, border: Border, truncate: float = 4.0) -> Tensor:
    """Gaussian blur of N x C x H x W, cut off at `truncate` standard deviations (pixels)."""
    height, width = images.shape[2:]
    return separable(
        images,
        gaussian_matrix(height, sigma, border, truncate),
        gaussian_matrix(width, sigma, border, truncate),
    )


@lru_cache(maxsize=128)
def gaussian_matrix(size: int, sigma: float, border: Border, truncate: float = 4.0) -> Tensor:
    """float64 size x size: the matrix whose product with a column blurs it."""
    radius = int(truncate * sigma + 0.5)
    taps = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (taps.double() / sigma) ** 2) if radius else torch.ones(1).double()
    sources = _inside(torch.arange(size)[:, None] + taps, size, border)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, sources, (weights / weights.sum()).expand(size, -1))


def _inside(places: Tensor, size: int, border: Border) -> Tensor:
    """Where whole numbers beyond 0 .. size - 1 take their value from."""
    if border == "nearest":
        return places.clamp(0, size - 1)
    if border == "reflect":
        places = places.remainder(2 * size)
        return torch.minimum(places, 2 * size - 1 - places)
    places = places.remainder(2 * size - 2)
    return torch.minimum(places, 2 * size - 2 - places)


def correlate(images: Tensor, kernel: Tensor) -> Tensor:
    """Correlate N x C x H x W with a float64 kernel of odd sides; the border is `mirror`."""
    height, width = images.shape[2:]
    down, right = (side // 2 for side in kernel.shape)
    padded = F.pad(images, (right, right, down, down), mode="reflect")
    found = torch.zeros_like(images)
    for row, weights in enumerate(kernel):
        # Row by row: a multiplication with a banded matrix is far quicker than tap by tap.
        band = torch.zeros(width + 2 * right, width, dtype=torch.float64)
        for tap, weight in enumerate(weights.tolist()):
            band.diagonal(-tap).fill_(weight)
        found += padded[:, :, row : row + height] @ band.to(images.device)
    return found


def motion_blur(images: Tensor, radius: float, sigma: float, degrees: Tensor) -> Tensor:
    """Blur N x C x H x W along a line, as ImageMagick's motion blur does.

    A pixel is the mean of those from it on along the direction (float64 N, in degrees from the
    x axis down), with half a Gaussian of deviation `sigma` as weights, of 2 * radius + 1 pixels in
    all, each the nearest to the line; what is beyond the border is the border.
    """
    height, width = images.shape[2:]
    taps = torch.arange(2 * math.ceil(radius) + 1, dtype=torch.float64, device=images.device)
    weights = torch.exp(-0.5 * (taps / sigma) ** 2)
    weights = weights / weights.sum()
    angle = torch.deg2rad(degrees)[:, None]
    right = torch.ceil(taps * angle.cos() - 0.5).long()
    down = torch.ceil(taps * angle.sin() - 0.5).long()
    flat, found = images.flatten(2), torch.zeros_like(images).flatten(2)
    x, y = (torch.arange(side, device=images.device) for side in (width, height))
    for tap, weight in enumerate(weights.tolist()):
        if weight < _NEGLIGIBLE:
            break
        row = (y + down[:, tap, None]).clamp_(0, height - 1)
        column = (x + right[:, tap, None]).clamp_(0, width - 1)
        place = (row[:, :, None] * width + column[:, None]).flatten(1)[:, None]
        found.add_(flat.gather(2, place.expand_as(flat)), alpha=weight)
    return found.reshape(images.shape)


@lru_cache(maxsize=256)
def zoom_matrix(size: int, factor: float) -> Tensor:
    """float64 size x size: enlarge the middle of a column by a factor >= 1, linearly.

    The middle is cut to whole pixels, enlarged with its first and last pixel kept in place, and
    cut to the size again.
    """
    cut = math.ceil(size / factor)
    enlarged = round(cut * factor)
    first = torch.arange(size, dtype=torch.float64) + (enlarged - size) // 2
    place = first * ((cut - 1) / max(enlarged - 1, 1))
    below = place.floor().clamp_(0, cut - 1)
    above = (below + 1).clamp_(max=cut - 1)
    share = (place - below)[:, None]
    top = (size - cut) // 2
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix.scatter_add_(1, below.long()[:, None] + top, 1 - share)
    return matrix.scatter_add_(1, above.long()[:, None] + top, share)


@lru_cache(maxsize=128)
def box_matrix(size: int, smaller: int) -> Tensor:
    """float64 smaller x size: every pixel the mean of those whose centre lies in its span."""
    span = size / smaller
    reach = max(span, 1.0)
    pixel = torch.arange(size, dtype=torch.float64)
    centre = (torch.arange(smaller, dtype=torch.float64)[:, None] + 0.5) * span
    # As Pillow does, for of a pixel on the rim of two spans rounding decides.
    offset = (pixel - centre + 0.5) * (1 / reach)
    first, last = (centre - reach / 2 + 0.5).floor(), (centre + reach / 2 + 0.5).floor()
    inside = (offset > -0.5) & (offset <= 0.5) & (pixel >= first) & (pixel < last)
    return inside.double() / inside.sum(1, keepdim=True)


def sample(images: Tensor, y: Tensor, x: Tensor, border: Literal["reflect", "mirror"]) -> Tensor:
    """Images at places between pixels, bilinear.

    Args:
        images: float64 N x C x H x W.
        y: float64 N x H' x W', row 0 being the centre of the first row of pixels.
        x: float64 N x H' x W', likewise.
        border: what is beyond.

    Returns:
        float64 N x C x H' x W'.
    """
    height, width = images.shape[2:]
    # The border is reflected at the centre of its pixel where corners are aligned, else at its rim.
    mirror = border == "mirror"
    if mirror:
        grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], 3)
    else:
        grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], 3)
    return F.grid_sample(images, grid, "bilinear", "reflection", align_corners=mirror)


def plasma(noise: Tensor, decay: float) -> Tensor:
    """A cloudy height map by the diamond-square algorithm, on a torus.

    Args:
        noise: float64 N x S x S in [-1, 1], S a power of two: each point's own random number.
        decay: by how much the spread shrinks from scale to scale; its square is what counts.

    Returns:
        float64 N x S x S, each map from 0 to 1.
    """
    size = noise.shape[-1]
    heights = torch.zeros_like(noise)
    step, spread = size, 1.0
    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        pairs = corners + corners.roll(-1, 1)
        middle = (slice(None), slice(half, None, step), slice(half, None, step))
        heights[middle] = (pairs + pairs.roll(-1, 2)) / 4 + spread * noise[middle]
        centres = heights[middle]
        top = (slice(None), slice(0, None, step), slice(half, None, step))
        left = (slice(None), slice(half, None, step), slice(0, None, step))
        above = centres + centres.roll(1, 1) + corners + corners.roll(-1, 2)
        beside = centres + centres.roll(1, 2) + corners + corners.roll(-1, 1)
        heights[top] = above / 4 + spread * noise[top]
        heights[left] = beside / 4 + spread * noise[left]
        step, spread = half, spread / decay**2
    heights = heights - heights.amin((1, 2), keepdim=True)
    return heights / heights.amax((1, 2), keepdim=True)
