"""Blur: defocus (a disk), frosted glass (pixels shuffled), motion and zoom."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from bench.corruptions import filters
from bench.corruptions.draws import Draws


def defocus_blur(images: Tensor, draws: Draws, setting: tuple[float, float]) -> Tensor:
    """Correlation with a disk: its radius, and the deviation of its own anti-aliasing blur."""
    return filters.correlate(images, disk(*setting)).clamp_(0, 1)


@lru_cache(maxsize=32)
def disk(radius: float, deviation: float) -> Tensor:
    """float64 square of odd side: a disk that sums to 1, then slightly blurred.

    Where it touches the rim of the square it is blurred in (radius 8 and 10), the blur mirrors and
    the sum exceeds 1 a little, as in the published images.
    """
    reach = 8 if radius <= 8 else math.ceil(radius)
    axis = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = (axis[:, None] ** 2 + axis**2 <= radius**2).double()
    kernel = kernel / kernel.sum()
    # A Gaussian of 3 pixels, or 5 for the larger disks, that mirrors at the rim of the square.
    taps = 1 if radius <= 8 else 2
    blur = filters.gaussian_matrix(len(axis), deviation, "mirror", taps / deviation)
    kernel = blur @ kernel @ blur.T
    used = (kernel > 1e-12).any(0).nonzero()
    first, last = int(used[0]), int(used[-1]) + 1
    return kernel[first:last, first:last]


def glass_blur(images: Tensor, draws: Draws, setting: tuple[float, int, int]) -> Tensor:
    """Blur, replace pixels by neighbours, blur again.

    From the lower right on, every pixel takes the value of a random neighbour at most `reach`
    away, as it is by then. (The authors' code means to swap the two, but on colour images its
    assignment copies, and so the published images are made.)
    """
    sigma, reach, times = setting
    height, width = images.shape[2:]
    found = filters.gaussian_blur(images, sigma, "nearest")
    for time in range(times):
        offsets = draws.uniform(time, (2, height, width), -reach, reach).floor_().long()
        source = copied_from(offsets[:, 0], offsets[:, 1], reach).flatten(1)[:, None]
        flat = found.flatten(2)
        found = flat.gather(2, source.expand_as(flat)).reshape(images.shape)
    return filters.gaussian_blur(found, sigma, "nearest").clamp_(0, 1)


def copied_from(down: Tensor, right: Tensor, reach: int) -> Tensor:
    """Where each pixel's value comes from after all were copied in turn.

    Pixels (h, w) with reach < h <= H - reach, likewise w, are visited in falling order and take
    the value of (h + down, w + right). Instead of one after the other, chains of copies are
    followed all at once, in as many steps as the longest has doublings.

    Args:
        down: int64 N x H x W, each in -reach .. reach - 1.
        right: int64 N x H x W, likewise.
        reach: in pixels.

    Returns:
        int64 N x H x W: numbers h * W + w.
    """
    count, height, width = down.shape
    own = torch.arange(height * width, device=down.device)
    row, column = own // width, own % width
    visited = (row > reach) & (row <= height - reach) & (column > reach)
    visited &= column <= width - reach
    target = own + torch.where(visited, down.flatten(1) * width + right.flatten(1), 0)
    # A later pixel was visited earlier: its own source is what counts.
    ends = ~(visited[target] & (target > own))
    while not bool(ends.all()):
        target, ends = (
            torch.where(ends, target, target.gather(1, target)),
            ends | ends.gather(1, target),
        )
    return target.reshape(count, height, width)


def motion_blur(images: Tensor, draws: Draws, setting: tuple[float, float]) -> Tensor:
    """Blur along a line of random direction, -45 to 45 degrees."""
    radius, sigma = setting
    angle = draws.uniform(0, (), -45, 45)
    return filters.motion_blur(images, radius, sigma, angle).clamp_(0, 1)


def zoom_blur(images: Tensor, draws: Draws, setting: tuple[float, float]) -> Tensor:
    """The mean of the image and of enlarged ones, by factors from 1 on."""
    end, step = setting
    height, width = images.shape[2:]
    total = images.clone()
    factors = np.arange(1, end, step).tolist()
    for factor in factors:
        rows, columns = (filters.zoom_matrix(side, factor) for side in (height, width))
        total += filters.separable(images, rows, columns)
    return total.div_(len(factors) + 1).clamp_(0, 1)
