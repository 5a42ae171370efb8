"""What is to be seen in an image: masks of objects and boxes around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from bench.data.dataset import Dataset, Split


def refusal(dataset: Dataset, foreground: float | None = None) -> str:
    """Why it is not known where the objects of the test images are; empty where it is."""
    test = dataset.test
    known = (test.masks, test.boxes, dataset.foreground, foreground)
    if any(source is not None for source in known):
        return ""
    return (
        f"{dataset.name} has no masks or boxes of its objects; a data-set plugin can give them, or "
        "set `foreground: 0.2` where objects are bright on black"
    )


def masks(dataset: Dataset, index: Tensor, foreground: float | None = None) -> Tensor | None:
    """Masks of some test images; None where only boxes are known.

    Args:
        dataset: which knows its masks, or is of bright objects on black.
        index: int64 n, numbers in the test set.
        foreground: a pixel with any channel above this (in [0, 1]) is the object's; given, it goes
            before what the data set itself says. The paper has 0.2 (section 4.3).

    Returns:
        bool n x H x W.
    """
    test = dataset.test
    if foreground is None and test.masks is not None:
        return test.masks[index]
    threshold = dataset.foreground if foreground is None else foreground
    if threshold is None:
        return None
    # Whole grey levels: no rounding of 0.2 decides about a pixel.
    return (test.images[index].amax(1).double() / 255) > threshold


def boxes(
    dataset: Dataset, index: Tensor, foreground: float | None = None
) -> tuple[Tensor, ...] | None:
    """The set's own boxes of some test images, K x 4 (x0, y0, x1, y1 in pixels, half-open); None
    where it has none, or `foreground` goes before it."""
    if foreground is not None or dataset.test.boxes is None:
        return None
    return tuple(dataset.test.boxes[row] for row in index.tolist())


def resized_objects(split: Split, before: Sequence[int]) -> Split:
    """Masks and boxes of images that had the sides `before` (height, width), for the sides that
    they have now; a mask's pixel is that of the nearest one before."""
    import torch
    from torch.nn import functional as F

    height, width = split.images.shape[2:]
    changed = split
    if split.masks is not None:
        near = F.interpolate(split.masks[:, None].float(), (height, width), mode="nearest-exact")
        changed = replace(changed, masks=near[:, 0] > 0.5)
    if split.boxes is not None:
        scale = torch.tensor([width / before[1], height / before[0]] * 2, dtype=torch.float64)
        changed = replace(changed, boxes=tuple(box * scale for box in split.boxes))
    return changed
