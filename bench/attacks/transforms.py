"""Rotations and shifts of images as scipy.ndimage does them, as linear maps for whole batches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.ndimage
import scipy.special
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation of H x W images onto a canvas that holds all of it.

    Attributes:
        size: height and width of the canvas.
        source: int64 4 x (canvas pixels), where in the flattened image each neighbour is.
        weight: float32 4 x (canvas pixels), its weight; 0 outside the image.
    """

    size: tuple[int, int]
    source: Tensor
    weight: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """N x C x H x W to N x C x `size`."""
        flat = images.flatten(2)
        source, weight = self.source.to(images.device), self.weight.to(images)
        total = flat[..., source[0]].mul_(weight[0])
        for k in range(1, 4):
            total.addcmul_(flat[..., source[k]], weight[k])
        canvas: Tensor = total.unflatten(2, self.size)
        return canvas


@lru_cache(maxsize=64)
def rotation(height: int, width: int, angle: float) -> Rotation:
    """`scipy.ndimage.rotate(image, angle, reshape=True, order=1)` on the last two axes: bilinear,
    and 0 wherever the point lies outside the pixel centres. `angle` is in degrees."""
    cos, sin = scipy.special.cosdg(angle), scipy.special.sindg(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    corners = turn @ np.array([[0, 0, height, height], [0, width, 0, width]])
    rows, columns = (np.ptp(corners, axis=1) + 0.5).astype(int).tolist()
    centre = (np.array([height, width]) - 1) / 2
    offset = centre - turn @ ((np.array([rows, columns]) - 1) / 2)
    row, column = (axis.reshape(-1) for axis in np.mgrid[:rows, :columns])
    # Summed in scipy's order: points on the border must fall on the same side of it.
    point = offset[:, None] + turn[:, :1] * row + turn[:, 1:] * column
    bound = np.array([[height - 1], [width - 1]])
    inside = ((point >= 0) & (point <= bound)).all(0)
    low = np.clip(np.floor(point), 0, bound).astype(int)
    high = np.minimum(low + 1, bound)
    share = point - low
    source, weight = [], []
    for y, v in ((low[0], 1 - share[0]), (high[0], share[0])):
        for x, u in ((low[1], 1 - share[1]), (high[1], share[1])):
            source.append(y * width + x)
            weight.append(v * u * inside)
    return Rotation(
        (rows, columns),
        torch.from_numpy(np.stack(source)),
        torch.from_numpy(np.stack(weight)).float(),
    )


@lru_cache(maxsize=256)
def shift_matrix(size: int, canvas: int, shift: float) -> Tensor:
    """float32 size x canvas: `scipy.ndimage.shift` of a line of `canvas` pixels (cubic spline,
    0 outside), of which the middle `size` are kept."""
    line = scipy.ndimage.shift(np.eye(canvas), (shift, 0.0), order=3, mode="constant")
    start = (canvas - size) // 2
    kept = np.zeros((size, canvas))
    # A canvas can be a pixel shorter than a very long and narrow image.
    first, last = max(start, 0), min(start + size, canvas)
    kept[first - start : last - start] = line[first:last]
    return torch.from_numpy(kept).float()
