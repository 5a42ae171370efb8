"""Where a heatmap lies against where the object is: counts of pixels at every threshold.

A pixel is predicted where `heatmap > threshold`, strictly, the rule by which the paper's objects
are cut out (pixel > 0.2). Thresholds are first rounded to the heatmaps' own precision, so that a
float32 pixel of 0.2 is not above 0.2.

Pixel average precision (PxAP) is that of Choe et al., "Evaluating Weakly Supervised Object
Localization Methods Right" (CVPR 2020), who predict where `heatmap >= threshold`. The difference
is at the border 0: with `>=` everything is predicted there, and so every object pixel is found in
the end, even those to which the heatmap gives nothing.

What has no value (0/0) is NaN and left out of means; how often that is, `Counts` tells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.errors import BenchError

# Pixels sorted into thresholds at once: bounds the scratch space, whatever the batch.
_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Pixels by prediction and object, at every threshold.

    Attributes:
        tp: int64 N x T (or T, once summed): object pixels that are predicted.
        fp: likewise, predicted pixels that are not the object's.
        fn: likewise, object pixels that are not predicted.
    """

    tp: Tensor
    fp: Tensor
    fn: Tensor

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    def select(self, chosen: Tensor) -> Counts:
        """Those of some images, by a bool mask N or by their numbers."""
        return Counts(self.tp[chosen], self.fp[chosen], self.fn[chosen])

    def summed(self) -> Counts:
        """Sums over the images."""
        return Counts(self.tp.sum(0), self.fp.sum(0), self.fn.sum(0))


@dataclass(frozen=True, slots=True, eq=False)
class Ratios:
    """Precision, recall, intersection over union and F1: float64 in [0, 1], NaN for 0/0."""

    precision: Tensor
    recall: Tensor
    iou: Tensor
    f1: Tensor


def grid(steps: int = 100) -> Tensor:
    """Thresholds 0, 1/steps, ... 1; float64, each the double nearest to its decimal."""
    return torch.arange(steps + 1, dtype=torch.float64) / steps


def index_of(thresholds: Tensor, threshold: float) -> int:
    """Position of a threshold, whatever the precision it was written in.

    Raises:
        BenchError: there is none within 1e-6.
    """
    distance = (thresholds.double() - threshold).abs()
    index = int(distance.argmin())
    if not float(distance[index]) <= 1e-6:
        raise BenchError(f"no threshold is {threshold}; the nearest is {float(thresholds[index])}")
    return index


def counts(heatmaps: Tensor, masks: Tensor, thresholds: Tensor) -> Counts:
    """Count pixels where `heatmap > threshold` against the object's.

    Exactly what T comparisons would count, for the price of about one: each pixel is sorted into
    the thresholds, and the histograms are summed up from above.

    Args:
        heatmaps: N x H x W.
        masks: bool N x H x W, where the object is.
        thresholds: T, ascending.

    Raises:
        BenchError: shapes differ, a heatmap holds NaN, or thresholds do not ascend.
    """
    return _from_histograms(_histograms(heatmaps, masks, thresholds, inclusive=False, pooled=False))


def pxap_curve_counts(heatmaps: Tensor, masks: Tensor, thresholds: Tensor | None = None) -> Counts:
    """Count pixels where `heatmap >= threshold`, summed over the images, for the PxAP.

    Batches are added up: `pxap_curve_counts(a, x) + pxap_curve_counts(b, y)`.

    Args:
        heatmaps: N x H x W in [0, 1].
        masks: bool N x H x W, where the object is.
        thresholds: T, ascending; by default 0, 0.001, ... 1.

    Raises:
        BenchError: see `counts`.
    """
    chosen = grid(1000) if thresholds is None else thresholds
    parts = _histograms(heatmaps, masks, chosen, inclusive=True, pooled=True)
    return _from_histograms(parts).summed()


def pixel_average_precision(found: Counts) -> Tensor:
    """PxAP: the sum over thresholds, from the highest, of precision times the gain in recall.

    Args:
        found: T or N x T, at ascending thresholds; the published PxAP is that of
            `pxap_curve_counts` over all images.

    Returns:
        float64, a number or N; NaN where there is no object.
    """
    all_ratios = ratios(found)
    recall = all_ratios.recall
    higher = torch.cat([recall[..., 1:], torch.zeros_like(recall[..., :1])], -1)
    # Where nothing is predicted yet, recall has not risen: any precision does.
    return (all_ratios.precision.nan_to_num(0) * (recall - higher)).sum(-1)


def ratios(found: Counts) -> Ratios:
    """The four ratios of each count."""
    tp, fp, fn = found.tp.double(), found.fp.double(), found.fn.double()
    return Ratios(tp / (tp + fp), tp / (tp + fn), tp / (tp + fp + fn), 2 * tp / (2 * tp + fp + fn))


def micro(found: Counts) -> Ratios:
    """Ratios T of the counts summed over the images: every pixel weighs the same."""
    return ratios(found.summed())


def macro(found: Counts) -> Ratios:
    """Means T over the images of each one's ratios: every image weighs the same.

    An image where a ratio has no value is left out of that mean: precision where nothing is
    predicted, recall where there is no object. IoU and F1 of an object of which nothing is
    predicted are 0, and count. F1 is the mean of the images' F1, not that of the mean precision and
    recall.
    """
    each = ratios(found)
    values = each.precision, each.recall, each.iou, each.f1
    return Ratios(*(value.nanmean(0) for value in values))


def as_values(heatmaps: Tensor) -> Tensor:
    """Heatmaps as float32 or float64 N x H x W, detached.

    Raises:
        BenchError: another shape, or NaN.
    """
    if heatmaps.ndim != 3:
        raise BenchError(f"heatmaps must be N x H x W, not of shape {tuple(heatmaps.shape)}")
    values = heatmaps.detach()
    values = values if values.dtype == torch.float64 else values.float()
    bad = values.isnan().flatten(1).any(1).nonzero()
    if len(bad):
        raise BenchError(f"heatmap {int(bad[0])} holds NaN; give maps without a value as zeros")
    return values


def same_shape(heatmaps: Tensor, masks: Tensor) -> None:
    """Check masks against heatmaps.

    Raises:
        BenchError: masks are not bool, or of another shape.
    """
    if masks.dtype != torch.bool or masks.shape != heatmaps.shape:
        raise BenchError(
            f"masks must be bool {tuple(heatmaps.shape)} as the heatmaps, not "
            f"{masks.dtype} {tuple(masks.shape)}"
        )


def ascending(thresholds: Tensor, values: Tensor) -> Tensor:
    """Thresholds in the precision of the heatmaps' values, on their device.

    Raises:
        BenchError: they do not ascend, or there are none.
    """
    found = thresholds.to(values)
    if found.ndim != 1 or len(found) == 0 or not bool((found.diff() > 0).all()):
        raise BenchError("thresholds must be a list of ascending numbers")
    return found


def _histograms(
    heatmaps: Tensor, masks: Tensor, thresholds: Tensor, *, inclusive: bool, pooled: bool
) -> Tensor:
    """How many pixels lie above exactly 0 .. T thresholds.

    Returns:
        int64 N x 2 x (T + 1), beside the object and on it; of all images together (1 x ...) if
        `pooled`.
    """
    values = as_values(heatmaps)
    same_shape(values, masks)
    edges = ascending(thresholds, values)
    bins = len(edges) + 1
    size = max(1, _AT_ONCE // max(1, values[0].numel() if len(values) else 1))
    parts = []
    for part, mask in zip(values.split(size), masks.split(size), strict=True):
        passed = torch.bucketize(part.contiguous(), edges, right=inclusive)
        row = torch.zeros_like(passed) if pooled else _numbers(passed)
        rows = 1 if pooled else len(part)
        place = ((2 * row + mask) * bins + passed).flatten()
        parts.append(torch.bincount(place, minlength=2 * bins * rows).reshape(rows, 2, bins))
    return torch.stack(parts).sum(0) if pooled else torch.cat(parts)


def _numbers(tensor: Tensor) -> Tensor:
    """Numbers of the images, N x 1 x 1."""
    return torch.arange(len(tensor), device=tensor.device)[:, None, None]


def _from_histograms(histograms: Tensor) -> Counts:
    passed = histograms.flip(-1).cumsum(-1).flip(-1)
    beside, on = passed[:, 0], passed[:, 1]
    return Counts(tp=on[:, 1:], fp=beside[:, 1:], fn=on[:, :1] - on[:, 1:])
