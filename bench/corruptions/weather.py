"""Weather: snow, frost and fog."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.corruptions import filters
from bench.corruptions.draws import Draws

# Luma of red, green and blue (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)


def grey(images: Tensor) -> Tensor:
    """N x 1 x H x W: the luma of colour images, grey ones as they are."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(LUMA, dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


def snow(
    images: Tensor, draws: Draws, setting: tuple[float, float, float, float, float, float, float]
) -> Tensor:
    """Flakes (noise above a threshold, enlarged) that fall in a random direction and, turned by
    180 degrees, once more, on an image that is whitened a little."""
    mean, deviation, zoom, threshold, radius, sigma, kept = setting
    height, width = images.shape[2:]
    noise = draws.normal(0, (1, height, width)).mul_(deviation).add_(mean)
    rows, columns = (filters.zoom_matrix(side, zoom) for side in (height, width))
    flakes = filters.separable(noise, rows, columns)
    flakes = torch.where(flakes < threshold, 0, flakes).clamp_(0, 1)
    angle = draws.uniform(1, (), -135, -45)
    flakes = filters.motion_blur(flakes, radius, sigma, angle)
    whitened = torch.maximum(images, grey(images) * 1.5 + 0.5)
    found = kept * images + (1 - kept) * whitened
    return (found + flakes + flakes.flip(2, 3)).clamp_(0, 1)


def fog(images: Tensor, draws: Draws, setting: tuple[float, float]) -> Tensor:
    """A cloudy fractal laid over the image, which then is dimmed to its own maximum."""
    share, decay = setting
    brightest = images.amax((1, 2, 3), keepdim=True)
    clouds = _clouds(images, draws, 0, decay)
    return ((images + share * clouds) * brightest / (brightest + share)).clamp_(0, 1)


def _clouds(images: Tensor, draws: Draws, step: int, decay: float) -> Tensor:
    """float64 N x 1 x H x W in [0, 1]: a corner of a fractal whose side is a power of two."""
    height, width = images.shape[2:]
    size = 1 << (max(height, width) - 1).bit_length()
    noise = draws.uniform(step, (size, size), -1, 1)
    return filters.plasma(noise, decay)[:, None, :height, :width]


# Frost: fronds that start in an image, per direction, and the colour of ice.
FRONDS = 24
DIRECTIONS = 4
ICE = (0.82, 0.93, 1.0)


def frost(images: Tensor, draws: Draws, setting: tuple[float, float]) -> Tensor:
    """A weighted sum of the image and of drawn frost.

    The original takes a random cut of one of five photographs of frosted glass; these are not
    shipped. Here fronds of ice with barbs grow over a cloudy film. Weights are the published ones,
    but the picture is another: figures are comparable within this harness only.
    """
    share, ice = setting
    return (share * images + ice * drawn_frost(images, draws)).clamp_(0, 1)


def drawn_frost(images: Tensor, draws: Draws) -> Tensor:
    """float64, shaped like the images, in [0, 1]: frost alone, before black."""
    height, width = images.shape[2:]
    noise = draws.uniform(3, (2, height, width), -1, 1)
    bend = filters.gaussian_blur(noise, min(height, width) / 14, "reflect") * min(height, width) / 2
    y, x = (torch.arange(side, device=images.device).double() for side in (height, width))
    fronds = filters.sample(
        _fronds(images, draws), y[:, None] + bend[:, 0], x + bend[:, 1], "reflect"
    )
    film = _clouds(images, draws, 4, 1.6)
    cover = _clouds(images, draws, 5, 2.2)
    layer = (0.25 + 0.75 * cover) * (0.25 + 0.55 * film) + (0.35 + 0.65 * cover) * fronds
    if images.shape[1] == 1:
        return layer.clamp_(0, 1)
    colour = torch.tensor(ICE, dtype=images.dtype, device=images.device)
    return (layer * colour[:, None, None]).clamp_(0, 1)


def _fronds(images: Tensor, draws: Draws) -> Tensor:
    """float64 N x 1 x H x W in [0, 1]: straight stems, and barbs at 60 degrees on both sides."""
    height, width = images.shape[2:]
    long = min(height, width) / 3
    short = max(2.0, long / 4)
    chance = draws.uniform(0, (DIRECTIONS, 1, height, width))
    budding = draws.uniform(1, (DIRECTIONS, 1, height, width)) < 0.5
    angles = draws.uniform(2, (DIRECTIONS,), 0, 360)
    found = torch.zeros_like(images[:, :1])
    for k in range(DIRECTIONS):
        seeds = (chance[:, k] < FRONDS / (height * width)).to(images)
        stem = _needle(seeds, long, angles[:, k])
        buds = torch.where(budding[:, k], stem, 0)
        for side in (-60, 60):
            found = torch.maximum(found, 0.8 * _needle(buds, short, angles[:, k] + side))
        found = torch.maximum(found, stem)
    return found


def _needle(seeds: Tensor, length: float, degrees: Tensor) -> Tensor:
    """Lines to every seed, as bright as it and fading with the distance; at most 1."""
    radius, sigma = 0.6 * length, length / 2
    line = filters.motion_blur(seeds, radius, sigma, degrees)
    taps = torch.arange(2 * math.ceil(radius) + 1, dtype=torch.float64)
    # The blur's weights sum to 1; here the first is 1.
    total = torch.exp(-0.5 * (taps / sigma) ** 2).sum()
    return (line * total.to(line)).clamp_(0, 1)
