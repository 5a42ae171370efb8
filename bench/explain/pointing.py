"""The pointing game: does the brightest pixel of a heatmap lie on the object?

Zhang et al., "Top-down Neural Attention by Excitation Backprop" (ECCV 2016). They also count a
point within 15 pixels of the object, on photographs; by default none is forgiven here, as 15
pixels are half of a 28-pixel image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import BenchError
from bench.explain.localize import as_values, same_shape


def hits(
    heatmaps: Tensor,
    masks: Tensor | None = None,
    boxes: Sequence[Tensor] | None = None,
    tolerance: int = 0,
) -> Tensor:
    """Whether each heatmap points at the object.

    Where several pixels share the maximum, none is the first: the result is the share of them
    that hit, as if one were drawn. So a map that is constant but not zero scores the object's
    share of the image. A map with nothing above zero points nowhere: a miss.

    Args:
        heatmaps: N x H x W.
        masks: bool N x H x W, where the object is; or
        boxes: for each image K x 4 (x0, y0, x1, y1 in pixels, half-open): a pixel is in a box when
            its centre is; in a box so narrow that it holds no centre, the pixel at its middle is.
        tolerance: a point that is no farther than so many pixels from the object (Euclidean,
            between pixel centres) hits too.

    Returns:
        float32 N in [0, 1]; NaN for images without an object.

    Raises:
        BenchError: neither or both of masks and boxes, shapes that differ, or a heatmap with NaN.
    """
    values = as_values(heatmaps)
    if (masks is None) == (boxes is None):
        raise BenchError("the pointing game takes either masks or boxes")
    if tolerance < 0:
        raise BenchError(f"tolerance must be 0 or more pixels, not {tolerance}")
    target = _inside(boxes, values) if masks is None else masks
    same_shape(values, target)
    no_object = ~target.flatten(1).any(1)
    flat = values.flatten(1)
    most = flat.amax(1, keepdim=True)
    points = flat == most
    hit = (points & _grown(target, tolerance).flatten(1)).sum(1) / points.sum(1)
    found = torch.where(most[:, 0] > 0, hit, 0.0)
    return found.masked_fill(no_object, torch.nan).float()


def _inside(boxes: Sequence[Tensor] | None, values: Tensor) -> Tensor:
    """bool N x H x W: pixels that are in any of the image's boxes."""
    boxes = boxes or []
    if len(boxes) != len(values):
        raise BenchError(f"{len(boxes)} lists of boxes for {len(values)} heatmaps")
    inside = torch.zeros_like(values, dtype=torch.bool)
    if not boxes:
        return inside
    height, width = values.shape[1:]
    y, x = (torch.arange(side, device=values.device) + 0.5 for side in (height, width))
    # Every image's boxes in one list: the batch is painted as a whole, whatever their numbers.
    every = torch.cat([some.reshape(-1, 4) for some in boxes]).to(values.device)
    sizes = torch.tensor([len(some) for some in boxes], device=values.device)
    owner = torch.arange(len(boxes), device=values.device).repeat_interleave(sizes)
    x0, y0, x1, y1 = every[:, :, None].unbind(1)
    rows, columns = _between(y, y0, y1), _between(x, x0, x1)
    painted = (rows[:, :, None] & columns[:, None]).to(torch.uint8)
    counted = inside.to(torch.int64).index_add_(0, owner, painted.to(torch.int64))
    return counted > 0


def _between(centres: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """bool K x L: pixels of a line, of the given centres, that are in low .. high (K x 1 each)."""
    found = (centres >= low) & (centres < high)
    first, last = (end.clamp(0, len(centres)) for end in (low, high))
    middle = centres.floor() == ((first + last) / 2).floor()
    return found | (middle & (first < last) & ~found.any(1, keepdim=True))


def _grown(target: Tensor, radius: int) -> Tensor:
    """bool N x H x W: pixels at most `radius` from one that is set."""
    if radius == 0:
        return target
    step = torch.arange(-radius, radius + 1, device=target.device)
    disk = (step[:, None] ** 2 + step**2 <= radius**2).float()
    # Counts: half a pixel leaves room for a convolution by other means than sums.
    return F.conv2d(target[:, None].float(), disk[None, None], padding=radius)[:, 0] > 0.5
