"""Boxes around heatmaps against boxes around objects (MaxBoxAccV2).

Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right" (CVPR 2020): a map is
cut at a threshold, every connected component gets a box, and the one that fits an object's box
best counts. Boxes are x0, y0, x1, y1 in pixels, half-open: x1 - x0 is the width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from bench.errors import BenchError
from bench.explain.localize import as_values, ascending

Bools = NDArray[np.bool_]
Numbers = NDArray[np.int64]

# Pixels of cut maps looked at at once: bounds the scratch space, whatever the batch.
_AT_ONCE = 1 << 23


@dataclass(frozen=True, slots=True)
class BoxAccuracy:
    """MaxBoxAccV2 and its parts.

    Attributes:
        accuracy: by IoU that makes a hit: the share of images hit, in [0, 1], at the threshold
            where it is largest.
        threshold: likewise, that threshold; the lowest of equals.
        mean: MaxBoxAccV2, the mean of the accuracies.
        images: number of images that have a box.
    """

    accuracy: dict[float, float]
    threshold: dict[float, float]
    mean: float
    images: int


def mask_boxes(masks: Tensor) -> list[Tensor]:
    """One box around the whole object of each image.

    Args:
        masks: bool N x H x W.

    Returns:
        int64 1 x 4 each; 0 x 4 where there is no object.
    """
    if masks.ndim != 3 or masks.dtype != torch.bool:
        raise BenchError(f"masks must be bool N x H x W, not {masks.dtype} {tuple(masks.shape)}")
    (x0, x1), (y0, y1) = (_extent(masks.any(axis)) for axis in (1, 2))
    boxes = torch.stack([x0, y0, x1, y1], 1)
    present = masks.flatten(1).any(1).tolist()
    return [boxes[i : i + 1] if there else boxes[:0] for i, there in enumerate(present)]


def _extent(line: Tensor) -> tuple[Tensor, Tensor]:
    """First and last + 1 position that is set, of bool N x L."""
    levels = line.byte()
    return levels.argmax(1), line.shape[1] - levels.flip(1).argmax(1)


def component_boxes(masks: Tensor) -> list[Tensor]:
    """One box around each connected component (8-neighbourhood), from top to bottom.

    Args:
        masks: bool N x H x W.

    Returns:
        int64 K x 4 each; 0 x 4 where there is none.
    """
    if masks.ndim != 3 or masks.dtype != torch.bool:
        raise BenchError(f"masks must be bool N x H x W, not {masks.dtype} {tuple(masks.shape)}")
    owner, boxes = _components(masks.cpu().numpy())
    sizes = np.bincount(owner, minlength=len(masks)).tolist()
    return list(torch.from_numpy(boxes).to(masks.device).split(sizes))


def best_iou(heatmaps: Tensor, boxes: Sequence[Tensor], thresholds: Tensor) -> Tensor:
    """The best fit of any component of `heatmap > threshold` to any of the image's boxes.

    Components (8-neighbourhood) are found on the CPU, whatever device the heatmaps are on.

    Args:
        heatmaps: N x H x W.
        boxes: for each image K x 4, whole numbers or not.
        thresholds: T, ascending.

    Returns:
        float32 N x T in [0, 1]: intersection over union, 0 where nothing is above the threshold.
        NaN for images that have no box.

    Raises:
        BenchError: not as many lists of boxes as images, a box without area, a heatmap that holds
            NaN, or thresholds that do not ascend.
    """
    values = as_values(heatmaps).cpu()
    edges = ascending(thresholds, values)
    truth = _padded(boxes, len(values))
    area = values.shape[1] * values.shape[2]
    columns = max(1, _AT_ONCE // max(1, area))
    rows = max(1, columns // len(edges))
    found = np.zeros((len(values), len(edges)), dtype=np.float32)
    for i in range(0, len(values), rows):
        for j in range(0, len(edges), columns):
            above = values[i : i + rows, None] > edges[j : j + columns, None, None]
            part = found[i : i + rows, j : j + columns]
            part[:] = _best(above.numpy(), truth[i : i + rows])
    found[np.isnan(truth[:, 0, 0])] = np.nan
    return torch.from_numpy(found).to(heatmaps.device)


def max_box_accuracy(
    best: Tensor, thresholds: Tensor, deltas: Sequence[float] = (0.3, 0.5, 0.7)
) -> BoxAccuracy:
    """MaxBoxAccV2: for each delta the share of images with IoU >= delta, at its best threshold.

    Args:
        best: N x T of `best_iou`; images with NaN (no box) are left out.
        thresholds: T, those of `best_iou`.
        deltas: the IoUs that make a hit.

    Raises:
        BenchError: no image has a box.
    """
    best = best[~best.isnan().any(1)]
    if len(best) == 0:
        raise BenchError("no image has a box: there is nothing to localise")
    accuracy, threshold = {}, {}
    for delta in deltas:
        # Rounded as the IoUs are: 3/10 reaches 0.3.
        hit = best >= torch.tensor(delta, dtype=best.dtype, device=best.device)
        counts = hit.sum(0)
        index = int(counts.argmax())
        accuracy[delta] = int(counts[index]) / len(best)
        threshold[delta] = float(thresholds[index])
    mean = sum(accuracy.values()) / len(accuracy)
    return BoxAccuracy(accuracy, threshold, mean, len(best))


def _padded(boxes: Sequence[Tensor], count: int) -> NDArray[np.float64]:
    """Boxes as N x K x 4, K the most that an image has (at least 1), filled up with NaN."""
    if len(boxes) != count:
        raise BenchError(f"{len(boxes)} lists of boxes for {count} heatmaps")
    most = max((len(some) for some in boxes), default=0)
    truth = np.full((count, max(1, most), 4), np.nan)
    for row, some in zip(truth, boxes, strict=True):
        row[: len(some)] = some.detach().cpu().reshape(-1, 4).numpy()
    empty = np.flatnonzero((truth[..., 2:] <= truth[..., :2]).any((1, 2)))
    if len(empty):
        raise BenchError(f"image {empty[0]} has a box without area; boxes are x0, y0, x1, y1")
    return truth


def _best(above: Bools, truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Best IoU of n x t cut maps (n x t x H x W) with the boxes n x K x 4 of their images."""
    images, cuts, height, width = above.shape
    owner, found = _components(above.reshape(-1, height, width))
    mine = found[:, None].astype(np.float64)
    others = truth[owner // cuts]
    sides = np.minimum(mine[..., 2:], others[..., 2:]) - np.maximum(mine[..., :2], others[..., :2])
    shared = sides.clip(0).prod(2)
    union = _area(mine) + _area(others) - shared
    # NaN where there is no box: a component always covers something, so nothing else divides by 0.
    iou = np.nan_to_num(shared / union).max(1)
    best = np.zeros(images * cuts)
    np.maximum.at(best, owner, iou)
    return best.reshape(images, cuts)


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    return area


def _components(above: Bools) -> tuple[Numbers, Numbers]:
    """Connected components (8-neighbourhood) of many small images at once.

    Rows are taken apart into runs of set pixels, and runs of neighbouring rows that touch are
    joined by a graph. There are far fewer runs than pixels: three times as quick as labelling the
    pixels with scipy.ndimage.

    Args:
        above: bool M x H x W.

    Returns:
        int64 C, each component's image, ascending, and int64 C x 4, its box.
    """
    count, height, width = above.shape
    # A gap after every row and every image keeps them apart on one long line.
    line, image = width + 1, (height + 1) * (width + 1)
    gaps = np.zeros((count, height + 1, line), dtype=bool)
    gaps[:, :height, :width] = above
    edges = np.flatnonzero(np.diff(gaps.reshape(-1), prepend=False))
    first, end = edges[::2], edges[1::2]
    if len(first) == 0:
        return first, np.zeros((0, 4), dtype=np.int64)
    joined = _joined(first, end, line)
    number = int(joined.max()) + 1
    owner = np.zeros(number, dtype=np.int64)
    owner[joined] = first // image
    boxes = np.zeros((number, 4), dtype=np.int64)
    boxes[:, :2] = max(line, height)
    row = first % image // line
    for column, values in enumerate((first % line, row)):
        np.minimum.at(boxes[:, column], joined, values)
    for column, values in enumerate((end % line, row + 1)):
        np.maximum.at(boxes[:, 2 + column], joined, values)
    return owner, boxes


def _joined(first: Numbers, end: Numbers, line: int) -> Numbers:
    """Number of the component that each run first .. end - 1 belongs to, runs in rising order.

    Components are numbered by their first run.
    """
    # In the next row, from the column before to the column after.
    low = np.searchsorted(end, first + line, "left")
    high = np.searchsorted(first, end + line, "right")
    touching = np.maximum(high - low, 0)
    start = np.concatenate([[0], np.cumsum(touching)])
    below = np.arange(start[-1]) + np.repeat(low - start[:-1], touching)
    graph = csr_array((np.ones(len(below), np.int8), below, start), shape=(len(first), len(first)))
    labels: Numbers = connected_components(graph, directed=False)[1]
    # The order in which scipy numbers them is nobody's promise.
    earliest = np.full(int(labels.max()) + 1, len(first))
    np.minimum.at(earliest, labels, np.arange(len(first)))
    rank = np.empty_like(earliest)
    rank[earliest.argsort()] = np.arange(len(earliest))
    renumbered: Numbers = rank[labels]
    return renumbered
