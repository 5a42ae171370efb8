"""Faithfulness: does a network lose its class with the pixels that its heatmap marks?

Deletion and insertion of Petsiuk et al., "RISE" (BMVC 2018). No masks are needed, so any data set
will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.data.subset import balanced_subset, test_images
from bench.errors import BenchError
from bench.measures.base import Context, Found, Measure
from bench.measures.heatmap_options import HeatmapOptions, LayerTask, layer_items, no_map, said
from bench.suite.recipe import Whole
from leaderboard.results import MetricInfo

if TYPE_CHECKING:
    from torch import Tensor

    from bench.data.dataset import Dataset


class Options(HeatmapOptions):
    """Options of the measure in a suite.

    In `steps` steps all pixels are replaced by `deletion` ("zero", "mean" of the image, or "blur"),
    and inserted into `insertion`. `samples` 0 means all test images.
    """

    samples: Annotated[Whole, Field(ge=0)] = 500
    steps: Annotated[Whole, Field(ge=1)] = 28
    deletion: Literal["zero", "mean", "blur"] = "zero"
    insertion: Literal["zero", "mean", "blur"] = "blur"


Task = LayerTask[Options]


def note(options: Options) -> str:
    """How it was measured, in a sentence."""
    return (
        f"Faithfulness: {said(options)} of {test_images(options.samples)}; pixels are "
        f"replaced ({options.deletion}) and inserted (into {options.insertion}) in "
        f"{options.steps} steps, the most salient first; area under the probability of the class "
        "predicted at first."
    )


def refusal(task: Task, dataset: Dataset) -> str:
    """Why pixels cannot be taken in so many steps."""
    size = dataset.test.images.shape[2:].numel()
    steps = task.options.steps
    return "" if steps <= size else f"steps must be 1 to {size} (pixels), not {steps}"


def run(context: Context) -> Found:
    """Follow the probability of the predicted class as pixels go and come.

    Metrics, in percent: `deletion_auc` (lower is better) and `insertion_auc` (higher is better),
    and both as shares of the clean probability, `..._relative`. `pixels` is how many an image has.
    Arrays, one row for each image: `index`, `clean` (probability), `undefined` (its map is 0/0),
    `deletion` and `insertion` (n x steps + 1 probabilities).

    Raises:
        BenchError: no map shows a place, not one is defined, images have fewer pixels than there
            are steps, or the network gives NaN for some of what is left of them.
    """
    import torch

    from bench.explain import feature_maps
    from bench.measures.batches import in_batches
    from bench.models.predict import as_input

    task: Task = context.options
    index = _subset(context, task.options)
    pixels = context.dataset.test.images_at(torch.from_numpy(index))
    first = as_input(pixels[:1], context.device)
    (layer,) = feature_maps.find_layers(context.network, first, task.layer)
    done = in_batches(
        context,
        index,
        task.options.batch_size,
        lambda rows: _batch(context, task.options, layer.name, pixels[rows], index[rows]),
    )
    _require_numbers(done, task.options)
    if done["undefined"].all():
        raise no_map(layer.name, task.options)
    metrics = {
        "undefined": 100.0 * float(done["undefined"].mean()),
        "pixels": float(pixels[0, 0].numel()),
    }
    for name in ("deletion", "insertion"):
        area = done.pop(f"{name}_area")
        metrics[f"{name}_auc"] = 100.0 * float(area.mean())
        metrics[f"{name}_auc_relative"] = 100.0 * float((area / done["clean"]).mean())
    return Found(metrics, {"index": index, **done})


def _subset(context: Context, options: Options) -> NDArray[np.int64]:
    test = context.dataset.test
    if test.labels is not None:
        return balanced_subset(test.labels.numpy(), options.samples, options.subset_seed)
    random = np.random.default_rng([options.subset_seed, len(test)])
    count = min(options.samples or len(test), len(test))
    return np.sort(random.permutation(len(test))[:count]).astype(np.int64)


def _require_numbers(done: dict[str, NDArray[Any]], options: Options) -> None:
    """A network that standardises each image by itself has nothing to say of an even one."""
    cases = (
        ("clean", "as they are", ""),
        ("deletion", f"with pixels replaced ({options.deletion})", options.deletion),
        ("insertion", f"with pixels left out ({options.insertion})", options.insertion),
    )
    for name, state, baseline in cases:
        other = "mean" if baseline == "blur" else "blur"
        advice = f"try `{name}: {other}`" if baseline else "mend the network"
        wrong = np.isnan(done[name].reshape(len(done[name]), -1)).any(1)
        if wrong.any():
            raise BenchError(
                f"the network gives NaN for {wrong.sum()} of {len(wrong)} images {state}; {advice}"
            )


def _batch(
    context: Context, options: Options, layer: str, pixels: Tensor, index: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    from bench.explain import cam, removal
    from bench.models.predict import as_input

    images = as_input(pixels, context.device)
    found = cam.heatmaps(
        context.network, images, method=options.method, layers=layer, score=options.score
    )
    (heat,), (undefined,) = found.maps.values(), found.undefined.values()
    numbers, size = index.tolist(), len(images)
    how = (context.network, images, heat, found.target, options.steps)
    deleted = removal.deletion(*how, options.deletion, numbers, size)
    inserted = removal.insertion(*how, options.insertion, numbers, size)
    return {
        "undefined": undefined.cpu().numpy(),
        "clean": deleted.clean.cpu().numpy(),
        "deletion": deleted.probability.cpu().numpy(),
        "insertion": inserted.probability.cpu().numpy(),
        "deletion_area": deleted.area().cpu().numpy(),
        "insertion_area": inserted.area().cpu().numpy(),
    }


def forwards(task: Task, test_samples: int) -> float:
    """About how many predictions a cell spends."""
    images = min(task.options.samples or test_samples, test_samples)
    return float(images * 2 * (task.options.steps + 2))


METRICS = {
    "deletion_auc": MetricInfo("deletion AUC", "%", "lower", decimals=1, headline=True),
    "insertion_auc": MetricInfo("insertion AUC", "%", "higher", decimals=1, headline=True),
    "deletion_auc_relative": MetricInfo("deletion AUC of clean", "%", "lower", decimals=1),
    "insertion_auc_relative": MetricInfo("insertion AUC of clean", "%", "higher", decimals=1),
    "undefined": MetricInfo("maps that are 0/0", "%", "lower", decimals=1),
    "pixels": MetricInfo("pixels of an image", "", "neither", decimals=0),
}

MEASURE = Measure(
    "faithfulness",
    run,
    options=Options,
    items=layer_items,
    metrics=METRICS,
    forwards=forwards,
    note=note,
    refusal=refusal,
)
