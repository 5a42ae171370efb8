"""Localization: how well class activation maps find the object, without having been shown it.

Section 4.3 (b) of the paper: heatmaps of the predicted class against masks of the objects, of
images that are classified correctly. Choe et al., "Evaluating Weakly Supervised Object Localization
Methods Right" (CVPR 2020), for pixel average precision and box accuracy; Zhang et al. (ECCV 2016)
for the pointing game.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from bench.data import objects
from bench.data.subset import balanced_subset, test_images
from bench.errors import BenchError
from bench.measures.base import Context, Found, Measure
from bench.measures.heatmap_options import HeatmapOptions, LayerTask, layer_items, no_map, said
from leaderboard.results import MetricInfo

if TYPE_CHECKING:
    from torch import Tensor

    from bench.data.dataset import Dataset

DELTAS = (0.3, 0.5, 0.7)
_STEPS = 100  # of the thresholds at which counts are kept


class Options(HeatmapOptions):
    """Options of the measure in a suite.

    `threshold` (a multiple of 0.01) cuts heatmaps for precision, recall and IoU; all others from 0
    to 1 are kept too. `foreground` says that a pixel above it (in [0, 1]) is the object's, where
    the data set knows no masks, or to be used instead. `samples` 0 means all test images.
    """

    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.2
    foreground: Annotated[float, Field(ge=0, lt=1)] | None = None

    @field_validator("threshold")
    @classmethod
    def _kept(cls, value: float) -> float:
        if abs(value * _STEPS - round(value * _STEPS)) > 1e-6:
            raise ValueError(f"{value:g} is not a multiple of {1 / _STEPS:g}")
        return value


Task = LayerTask[Options]


@dataclass(frozen=True, slots=True, eq=False)
class _Images:
    """The test images that are judged: numbers int64 n, labels int64 n, masks bool n x H x W (or
    None) and boxes of each image (or None)."""

    index: NDArray[np.int64]
    pixels: Tensor
    labels: Tensor
    masks: Tensor | None
    boxes: list[Tensor]


def note(options: Options) -> str:
    """How it was measured, in a sentence."""
    rule = "" if options.foreground is None else f" (pixels above {options.foreground:g})"
    return (
        f"Localization: {said(options)} against the objects{rule} of "
        f"{test_images(options.samples)}; of these those that are classified "
        f"correctly; a pixel is predicted above {options.threshold:g}."
    )


def refusal(task: Task, dataset: Dataset) -> str:
    """Why it cannot be told where the objects are."""
    return objects.refusal(dataset, task.options.foreground)


def run(context: Context) -> Found:
    """Score the heatmaps of the images that are classified correctly.

    Metrics, in percent: `precision`, `recall` and `iou` at the threshold, of the pixels of all
    images together; `precision_macro` and the like, means over images; `pxap`; `box_acc[0.3]` and
    the like at the best threshold for each, `max_box_acc_v2` their mean; `pointing`. `images` is
    their number, `undefined` the percentage of maps that are 0/0.

    Arrays, one row for each image that was looked at: `index` (number in the test set), `correct`,
    `undefined`, `pointing`; `tp`, `fp`, `fn` (n x 101 counts of pixels) and `best_iou` (n x 101)
    at the thresholds 0, 0.01 ... 1.

    Raises:
        BenchError: no labels, no objects, no map that shows a place, or not one that is defined.
    """
    import torch

    from bench.explain import feature_maps
    from bench.measures.batches import in_batches
    from bench.models.predict import as_input

    task: Task = context.options
    images = _chosen(context.dataset, task.options)
    first = as_input(images.pixels[:1], context.device)
    (layer,) = feature_maps.find_layers(context.network, first, task.layer)
    done = in_batches(
        context,
        images.index,
        task.options.batch_size,
        lambda rows: _batch(context, task.options, layer.name, images, rows),
    )
    judged = torch.from_numpy(done["correct"] & done["shows"])
    if not judged.any():
        raise BenchError("not one image with an object is classified correctly")
    if done["undefined"][judged.numpy()].all():
        raise no_map(layer.name, task.options)
    pixels = images.pixels[0, 0].numel() if images.masks is not None else 0
    metrics = _metrics(done, judged, task.options, pixels)
    arrays = {"index": images.index, **{key: done[key] for key in _KEPT if key in done}}
    return Found(metrics, arrays)


_KEPT = ("correct", "undefined", "pointing", "best_iou", "tp", "fp", "fn")


def _chosen(dataset: Dataset, options: Options) -> _Images:
    import torch

    from bench.explain.boxes import mask_boxes

    test = dataset.test
    if test.labels is None:
        raise BenchError(f"{dataset.name}: has no test labels, so nothing is known to be correct")
    reason = objects.refusal(dataset, options.foreground)
    if reason:
        raise BenchError(reason)
    index = balanced_subset(test.labels.numpy(), options.samples, options.subset_seed)
    chosen = torch.from_numpy(index)
    masks = objects.masks(dataset, chosen, options.foreground)
    own = objects.boxes(dataset, chosen, options.foreground)
    boxes = list(own) if own is not None else mask_boxes(masks) if masks is not None else []
    return _Images(index, test.images_at(chosen), test.labels[chosen], masks, boxes)


def _batch(
    context: Context, options: Options, layer: str, images: _Images, rows: slice
) -> dict[str, NDArray[Any]]:
    import torch

    from bench.explain import boxes, cam, localize, pointing
    from bench.models.predict import as_input, classes

    found = cam.heatmaps(
        context.network,
        as_input(images.pixels[rows], context.device),
        method=options.method,
        layers=layer,
        score=options.score,
    )
    (heat,), (undefined,) = found.maps.values(), found.undefined.values()
    thresholds = localize.grid(_STEPS)
    correct = classes(found.logits).cpu() == images.labels[rows]
    own = images.boxes[rows]
    shows = torch.tensor([len(box) > 0 for box in own])
    masks = None if images.masks is None else images.masks[rows].to(heat.device)
    if masks is not None:  # of a set that gives both, a mask may be empty where a box is not
        shows &= masks.flatten(1).any(1).cpu()
    target = {"boxes": own} if masks is None else {"masks": masks}
    arrays = {
        "correct": correct.numpy(),
        "undefined": undefined.cpu().numpy(),
        "shows": shows.numpy(),
        "pointing": pointing.hits(heat, **target).cpu().numpy(),
        "best_iou": boxes.best_iou(heat, own, thresholds).cpu().numpy(),
    }
    if masks is not None:
        counted = localize.counts(heat, masks, thresholds)
        for name in ("tp", "fp", "fn"):
            arrays[name] = getattr(counted, name).cpu().numpy().astype(np.int32)
        # A row a batch: PxAP needs finer steps than are worth keeping of each image.
        judged = (correct & shows).to(heat.device)
        curve = localize.pxap_curve_counts(heat[judged], masks[judged])
        for name in ("tp", "fp", "fn"):
            arrays[f"pxap_{name}"] = getattr(curve, name).cpu().numpy()[None]
    return arrays


def _metrics(
    done: dict[str, NDArray[Any]], judged: Tensor, options: Options, pixels: int
) -> dict[str, float]:
    """Percentages over the images that are judged; of `pixels` each, 0 where no masks are known."""
    import torch

    from bench.explain import boxes, localize

    thresholds = localize.grid(_STEPS)
    per_image = {key: values for key, values in done.items() if not key.startswith("pxap_")}
    chosen = {key: torch.from_numpy(values)[judged] for key, values in per_image.items()}
    metrics = {
        "images": float(judged.sum()),
        "undefined": 100.0 * float(chosen["undefined"].double().mean()),
        "threshold": options.threshold,
        "pixels": float(pixels),
        "pointing": 100.0 * float(chosen["pointing"].double().mean()),
    }
    accuracy = boxes.max_box_accuracy(chosen["best_iou"], thresholds, DELTAS)
    metrics["max_box_acc_v2"] = 100.0 * accuracy.mean
    for delta, value in accuracy.accuracy.items():
        metrics[f"box_acc[{delta:g}]"] = 100.0 * value
    if not pixels:
        return metrics
    counted = localize.Counts(*(chosen[name].long() for name in ("tp", "fp", "fn")))
    at = localize.index_of(thresholds, options.threshold)
    micro, macro = localize.micro(counted), localize.macro(counted)
    for name in ("precision", "recall", "iou"):
        for suffix, ratios in (("", micro), ("_macro", macro)):
            value = float(getattr(ratios, name)[at])
            if value == value:  # precision has no value where nothing at all is predicted
                metrics[f"{name}{suffix}"] = 100.0 * value
    curve = (torch.from_numpy(done[f"pxap_{name}"]).sum(0) for name in ("tp", "fp", "fn"))
    metrics["pxap"] = 100.0 * float(localize.pixel_average_precision(localize.Counts(*curve)))
    return metrics


def forwards(task: Task, test_samples: int) -> float:
    """About how many predictions a cell spends: a pass forward and one back."""
    return 2.0 * min(task.options.samples or test_samples, test_samples)


METRICS = {
    "precision": MetricInfo("precision", "%", "higher", decimals=1, headline=True),
    "recall": MetricInfo("recall", "%", "higher", decimals=1, headline=True),
    "iou": MetricInfo("intersection over union", "%", "higher", decimals=1),
    "pxap": MetricInfo("PxAP", "%", "higher", decimals=1, headline=True),
    "max_box_acc_v2": MetricInfo("MaxBoxAccV2", "%", "higher", decimals=1, headline=True),
    "box_acc": MetricInfo("box accuracy at an IoU", "%", "higher", decimals=1),
    "pointing": MetricInfo("pointing game", "%", "higher", decimals=1),
    "precision_macro": MetricInfo("precision, mean over images", "%", "higher", decimals=1),
    "recall_macro": MetricInfo("recall, mean over images", "%", "higher", decimals=1),
    "iou_macro": MetricInfo("IoU, mean over images", "%", "higher", decimals=1),
    "images": MetricInfo("images classified correctly", "", "neither", decimals=0),
    "undefined": MetricInfo("maps that are 0/0", "%", "lower", decimals=1),
    "threshold": MetricInfo("threshold", "", "neither", decimals=2),
    "pixels": MetricInfo("pixels of an image", "", "neither", decimals=0),
}

MEASURE = Measure(
    "localization",
    run,
    options=Options,
    items=layer_items,
    metrics=METRICS,
    forwards=forwards,
    note=note,
    refusal=refusal,
)
