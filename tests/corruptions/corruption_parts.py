"""Images to corrupt, and slow, plain versions of what the corruptions do fast."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy.ndimage
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

# Rounding to 8 bits, and a little for the order of sums.
HALF_A_LEVEL = 0.5 / 255 + 1e-5


def pictures(count: int, channels: int = 3, height: int = 32, width: int = 32) -> Tensor:
    """8-bit images with edges, gradients and full range: blurred noise, stretched, and a square."""
    random = np.random.default_rng([count, channels, height, width])
    noise = random.normal(size=(count, channels, height, width))
    smooth = scipy.ndimage.gaussian_filter(noise, (0, 0.5, 2, 2))
    low, high = smooth.min((1, 2, 3), keepdims=True), smooth.max((1, 2, 3), keepdims=True)
    scaled = (smooth - low) / (high - low)
    scaled[:, :, height // 4 : height // 2, width // 3 : width // 2] = 0.9
    scaled[:, :, -5:, :5] = 0
    return torch.from_numpy(np.round(255 * scaled)).float() / 255


def flat(level: int, count: int = 1, channels: int = 3, side: int = 32) -> Tensor:
    return torch.full((count, channels, side, side), level / 255)


def planes(image: Tensor) -> Sequence[Array]:
    """The channels of one image, float64 H x W each."""
    return list(image.double().numpy())


def zoomed(plane: Array, factor: float) -> Array:
    """The middle of a square plane, enlarged by scipy and cut to the size again."""
    side = len(plane)
    cut = math.ceil(side / factor)
    top = (side - cut) // 2
    large = scipy.ndimage.zoom(plane[top : top + cut, top : top + cut], factor, order=1)
    trim = (len(large) - side) // 2
    found: Array = large[trim : trim + side, trim : trim + side]
    return found


def streaked(plane: Array, radius: int, sigma: float, degrees: float) -> Array:
    """Motion blur: a sum over the nearest pixels along half a line, the border repeated."""
    y, x = np.indices(plane.shape)
    last_row, last_column = plane.shape[0] - 1, plane.shape[1] - 1
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    found = np.zeros_like(plane)
    for step, weight in enumerate(weights / weights.sum()):
        right = math.ceil(step * math.cos(math.radians(degrees)) - 0.5)
        down = math.ceil(step * math.sin(math.radians(degrees)) - 0.5)
        found += weight * plane[(y + down).clip(0, last_row), (x + right).clip(0, last_column)]
    return found


def shuffled(image: Array, down: NDArray[np.int64], right: NDArray[np.int64], reach: int) -> Array:
    """H x W x C with every pixel replaced in turn, the last first."""
    found = image.copy()
    for y in range(image.shape[0] - reach, reach, -1):
        for x in range(image.shape[1] - reach, reach, -1):
            found[y, x] = found[y + down[y, x], x + right[y, x]]
    return found


def diamond_square(noise: Array, decay: float) -> Array:
    """Plasma point by point: squares, then diamonds, on a torus."""
    size = len(noise)
    heights = np.zeros((size, size))
    step, spread = size, 1.0
    while step >= 2:
        half = step // 2
        for y in range(half, size, step):
            for x in range(half, size, step):
                around = [(y + j, x + i) for j in (-half, half) for i in (-half, half)]
                mean = sum(heights[j % size, i % size] for j, i in around) / 4
                heights[y, x] = mean + spread * noise[y, x]
        for y in range(0, size, half):
            for x in range(half if y % step == 0 else 0, size, step):
                around = [(y - half, x), (y + half, x), (y, x - half), (y, x + half)]
                mean = sum(heights[j % size, i % size] for j, i in around) / 4
                heights[y, x] = mean + spread * noise[y, x]
        step, spread = half, spread / decay**2
    heights -= heights.min()
    found: Array = heights / heights.max()
    return found
