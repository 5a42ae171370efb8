"""The filters of resampling as plain numbers: for one axis, one row of weights per output.

Everything here is independent of torch; :mod:`arches.layers.resample` applies it to images and
maps.
"""

from __future__ import annotations

import math

Rows = list[list[float]]


def level_size(size: int, factor: int, partial: bool = False) -> int:
    """Side in pixels of the scale 1/factor of an image side.

    Args:
        size: of the image, in pixels.
        factor: of the reduction.
        partial: whether a last pixel that the image covers in part counts, which gives
            ``ceil(size / factor)`` instead of ``floor(size / factor)``.
    """
    return -(-size // factor) if partial else size // factor


def antialias_rows(size: int, factor: int, partial: bool = False) -> Rows:
    """Weights of the antialiased Gaussian downsampling along one axis.

    Output ``o`` is centred on ``(o + 0.5) * factor``; a pixel at distance d weighs
    ``exp(-d^2 / (2 sigma^2))`` with sigma half the factor, cut at d = 3 sigma (so 3 * factor taps)
    and at the border of the image, then normalised to sum 1.

    Args:
        size: pixels of the axis.
        factor: of the reduction.
        partial: as for :func:`level_size`.

    Returns:
        ``level_size`` rows of ``size`` weights.
    """
    sigma, radius = factor / 2, 1.5 * factor
    rows = []
    for out in range(level_size(size, factor, partial)):
        distances = [pixel + 0.5 - (out + 0.5) * factor for pixel in range(size)]
        weights = [
            math.exp(-(d**2) / (2 * sigma**2)) if abs(d) < radius else 0.0 for d in distances
        ]
        total = math.fsum(weights)
        rows.append([weight / total for weight in weights])
    return rows


def sampled_gaussian_rows(
    size: int, factor: int, sigma: float, half: int, partial: bool = False
) -> Rows:
    """Weights of a sampled Gaussian with reflected border, read at every factor-th pixel.

    Args:
        size: pixels of the axis, more than ``half`` for the reflection to exist.
        factor: of the reduction; sampling starts at pixel 0.
        sigma: standard deviation in pixels.
        half: half-width of the window, which has ``2 * half + 1`` taps.
        partial: as for :func:`level_size`.

    Raises:
        ValueError: when the axis is too short to be reflected.
    """
    if size <= half:
        raise ValueError(
            f"a side of {size} pixels is too short for a blur that reflects {half} at the border."
        )
    taps = [math.exp(-(d**2) / (2 * sigma**2)) for d in range(-half, half + 1)]
    total = math.fsum(taps)
    rows = []
    for out in range(level_size(size, factor, partial)):
        row = [0.0] * size
        for offset, tap in zip(range(-half, half + 1), taps, strict=True):
            pixel = abs(out * factor + offset)
            row[min(pixel, 2 * (size - 1) - pixel)] += tap / total
        rows.append(row)
    return rows


def bilinear_rows(size: int, target: int) -> Rows:
    """Weights of linear upsampling along one axis, aligned as nearest upsampling is."""
    repeat = repetition(size, target)
    rows = []
    for out in range(target):
        position = (out + 0.5) / repeat - 0.5 if repeat else (out + 0.5) * size / target - 0.5
        position = min(max(position, 0.0), size - 1.0)
        low = min(int(position), size - 1)
        row = [0.0] * size
        row[low] += 1.0 - (position - low)
        row[min(low + 1, size - 1)] += position - low
        rows.append(row)
    return rows


def repetition(size: int, target: int) -> int:
    """How often each value is repeated on the way from ``size`` to ``target``.

    Sides of scales are rounded, so a target may be a little off a whole multiple: then the last
    value is repeated more often, or less, and the others stay aligned with their pixels. 0 means
    that there is no such multiple.
    """
    # Halves go to the even number: levels are a factor of 2 apart, so 5 from 2 is twice and a bit.
    repeat = max(1, round(target / size))
    return repeat if abs(target - repeat * size) < repeat else 0


def blur_width(factor: int, method: str = "tf", sigma: float | None = None) -> int:
    """Pixels of the image, along one side, that reach one pixel of the scale 1/factor."""
    if factor == 1 or method == "noblur":
        return 1
    if method == "tf":
        return 3 * factor
    if method == "gaussian":
        return 2 * math.ceil(3 * (factor / 2 if sigma is None else sigma)) + 1
    return factor if method == "pool" else factor + 4
