"""Digital: brightness, contrast, elastic transform and pixelation."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.corruptions import filters
from bench.corruptions.draws import Draws


def brightness(images: Tensor, draws: Draws, added: float) -> Tensor:
    """Raise the value of HSV, that is the largest of red, green and blue, and scale the others
    with it, so that hue and saturation stay; black becomes grey."""
    value = images.amax(1, keepdim=True)
    raised = (value + added).clamp_(max=1)
    black = value == 0
    scale = raised / torch.where(black, 1, value)
    return torch.where(black, raised, images * scale).clamp_(0, 1)


def contrast(images: Tensor, draws: Draws, share: float) -> Tensor:
    """Shrink what deviates from the mean of its channel."""
    mean = images.mean((2, 3), keepdim=True)
    return ((images - mean) * share + mean).clamp_(0, 1)


def pixelate(images: Tensor, draws: Draws, share: float) -> Tensor:
    """Reduce to a share of the side (means of boxes) and enlarge again (nearest), as Pillow does:
    to whole levels after the reduction of the width, and after that of the height."""
    found, sizes = images * 255, images.shape[2:]
    for axis in (-1, -2):
        side = sizes[axis]
        box = filters.box_matrix(side, int(side * share)).to(images.device)
        back = filters.box_matrix(int(side * share), side).to(images.device)
        lines = filters.rounded(found.transpose(axis, -1) @ box.T)
        found = (lines @ back.T).transpose(axis, -1)
    return found / 255


def elastic_transform(images: Tensor, draws: Draws, setting: tuple[float, float, float]) -> Tensor:
    """A random affine map, then smooth random displacements.

    The map moves three corners of a square in the middle by at most the last of `setting`; the
    displacements are uniform noise of the first, smoothed with a deviation of the second. All are
    shares of the shorter side.
    """
    height, width = images.shape[2:]
    side = min(height, width)
    length, deviation, shift = (share * side for share in setting)
    down, right = (torch.arange(n, device=images.device).double() for n in (height, width))
    y, x = torch.meshgrid(down, right, indexing="ij")
    moved = filters.sample(images, *_affine(y, x, draws, shift), "mirror")
    noise = draws.uniform(1, (2, height, width), -1, 1)
    if deviation:
        noise = filters.gaussian_blur(noise, deviation, "reflect", 3.0)
    noise = noise * length
    return filters.sample(moved, y + noise[:, 0], x + noise[:, 1], "reflect").clamp_(0, 1)


def _affine(y: Tensor, x: Tensor, draws: Draws, shift: float) -> tuple[Tensor, Tensor]:
    """Where pixels (y, x: H x W) come from, N x H x W each, under the random affine map."""
    height, width = y.shape
    middle = torch.tensor([height // 2, width // 2], dtype=torch.float64, device=y.device)
    third = min(height, width) // 3
    signs = torch.tensor([[1, 1], [1, -1], [-1, -1]], dtype=torch.float64, device=y.device)
    corners = middle + third * signs
    moved = corners + draws.uniform(0, (3, 2), -shift, shift)
    # A pixel is moved[0] + a * first + b * second: a and b by Cramer's rule, image by image.
    first, second = (moved[:, k] - moved[:, 0] for k in (1, 2))
    py, px = (at - moved[:, 0, k, None, None] for k, at in enumerate((y, x)))
    ay, ax, by, bx = (part[:, None, None] for part in (*first.unbind(1), *second.unbind(1)))
    area = ay * bx - ax * by
    a, b = (py * bx - px * by) / area, (ay * px - ax * py) / area
    edges = [(corners[k] - corners[0]).tolist() for k in (1, 2)]
    start = corners[0].tolist()
    rows, columns = (start[k] + a * edges[0][k] + b * edges[1][k] for k in (0, 1))
    return rows, columns
