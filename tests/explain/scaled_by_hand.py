"""The steps from a map to a heatmap one by one in numpy, one map at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def bilinear(image: Array, size: tuple[int, int]) -> Array:
    """Each new pixel from the four around its centre; what is outside has the value of the edge."""
    for axis, (old, new) in enumerate(zip(image.shape, size, strict=True)):
        centre = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        below = np.floor(centre).astype(int)
        above = np.minimum(below + 1, old - 1)
        part = (centre - below).reshape((-1, 1) if axis == 0 else (1, -1))
        image = (1 - part) * image.take(below, axis) + part * image.take(above, axis)
    return image


def paper_scaled(cam: Array, size: tuple[int, int]) -> Array:
    """Facts of the paper, section 6c, in its order."""
    cam = cam - cam.mean()
    cam = (cam + 1e-10) / (np.linalg.norm(cam, 2) + 1e-10)
    heat = np.maximum(bilinear(cam, size), 0)
    return heat / heat.max()


def minmax_scaled(cam: Array, size: tuple[int, int]) -> Array:
    """The order of the package grad-cam 1.5.7."""
    cam = np.maximum(cam, 0)
    cam = cam - cam.min()
    heat = bilinear(cam / (1e-7 + cam.max()), size)
    heat = heat - heat.min()
    return heat / (1e-7 + heat.max())
