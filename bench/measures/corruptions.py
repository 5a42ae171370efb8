"""Corruptions: the error on test images under the 15 common corruptions at 5 severities.

Hendrycks and Dietterich (2019). A cell makes the corrupted images itself, on the device; they
depend on `corruption_seed` and an image's number in the test set only, so all networks of a
comparison see the same ones. The error relative to another network's is for the leaderboard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bench.corruptions.base import NAMES, SEVERITIES, check_name, check_shape
from bench.data.subset import balanced_subset, test_images
from bench.errors import BenchError, UnknownNameError
from bench.measures.base import Context, Found, Item, Measure
from bench.suite.recipe import Whole
from leaderboard.results import MetricInfo

if TYPE_CHECKING:
    from torch import Tensor

    from bench.data.dataset import Dataset


def _known(name: str) -> str:
    try:
        return check_name(name)
    except UnknownNameError as error:
        raise ValueError(str(error)) from None


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """In a fixed order, for the order in the suite changes no result."""
    if not values:
        raise ValueError("is empty; name at least one")
    for number, value in enumerate(values):
        if value in values[:number]:
            raise ValueError(f"{value!r} is there twice")
    return tuple(value for value in (*NAMES, *SEVERITIES) if value in values)


class Options(BaseModel):
    """Options of the measure in a suite.

    `samples` images, class-balanced and drawn with `subset_seed`, are the same for every network;
    0 means all. `corruption_seed` is of the corruptions' random numbers. `batch_size` bounds
    memory and changes no result; it is halved where it does not fit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    corruptions: Annotated[
        tuple[Annotated[str, AfterValidator(_known)], ...], AfterValidator(_each_once)
    ] = NAMES
    severities: Annotated[
        tuple[Annotated[Whole, Field(ge=1, le=5)], ...], AfterValidator(_each_once)
    ] = SEVERITIES
    samples: Annotated[Whole, Field(ge=0)] = 1000
    subset_seed: Annotated[Whole, Field(ge=0, lt=2**31)] = 0
    corruption_seed: Annotated[Whole, Field(ge=0, lt=2**31)] = 0
    batch_size: Annotated[Whole, Field(ge=1)] = 256


@dataclass(frozen=True, slots=True)
class Images:
    """Test images: `pixels` uint8 N x C x H x W, `labels` int64 N, `index` their numbers in the
    test set."""

    pixels: Tensor
    labels: Tensor
    index: NDArray[np.int64]

    def part(self, rows: slice) -> Images:
        """Some of them."""
        return Images(self.pixels[rows], self.labels[rows], self.index[rows])


def items(options: Options) -> list[Item]:
    """One cell; the batch size is not in its key."""
    return [Item(None, options.model_dump(mode="json", exclude={"batch_size"}), options)]


def note(options: Options) -> str:
    """How it was measured, in a sentence."""
    severities = f"severit{'y' if len(options.severities) == 1 else 'ies'} "
    severities += ", ".join(map(str, options.severities))
    images = ("the same " if options.samples else "") + test_images(options.samples)
    drawn = (
        "; the frost is drawn, not photographed as in the original"
        if "frost" in options.corruptions
        else ""
    )
    return (
        f"Corruptions: {len(options.corruptions)} of the 15 of Hendrycks and Dietterich (2019) at "
        f"{severities}, for every network {images} (seed {options.corruption_seed}), with the "
        f"authors' constants for the nearest image size (32, 64 or 224 pixels){drawn}. Figures "
        "compare within this harness only."
    )


def refusal(options: Options, dataset: Dataset) -> str:
    """Why the test images cannot be corrupted."""
    try:
        check_shape(tuple(dataset.test.images.shape))
    except BenchError as error:
        return f"{dataset.name}: {error}"
    return ""


def run(context: Context) -> Found:
    """Predict the corrupted subset; return metrics, and per sample the arrays below.

    Metrics, in percent: `corruption_error`, the mean over all corruptions and severities;
    `error[fog/3]` of each pair and `error[fog]`, its mean over severities; `clean_error` of the
    same images as they are. Arrays: `correct` (bool N x corruptions x severities, in the paper's
    and in rising order), `index` (number in the test set).

    Raises:
        BenchError: no test labels, or images that corruptions do not take.
    """
    import torch

    options: Options = context.options
    test = context.dataset.test
    if test.labels is None:
        raise BenchError(f"{context.dataset.name}: has no test labels to measure errors with")
    index = balanced_subset(test.labels.numpy(), options.samples, options.subset_seed)
    chosen = torch.from_numpy(index)
    images = Images(test.images_at(chosen), test.labels[chosen], index)
    clean, batch_size = _hits(context, None, images, options.batch_size)
    correct = np.stack(list(_by_corruption(context, images, batch_size)), 1)
    errors = 100.0 * (~correct).mean(0)
    metrics = {
        "corruption_error": float(errors.mean()),
        "clean_error": 100.0 * float((~clean).mean()),
    }
    for name, row in zip(options.corruptions, errors, strict=True):
        metrics[f"error[{name}]"] = float(row.mean())
        for severity, error in zip(options.severities, row, strict=True):
            metrics[f"error[{name}/{severity}]"] = float(error)
    return Found(metrics, {"correct": correct, "index": index})


def _by_corruption(
    context: Context, images: Images, batch_size: int
) -> Iterator[NDArray[np.bool_]]:
    """Yield bool N x severities for each corruption; one that was finished earlier is read."""
    names = context.options.corruptions
    for number, name in enumerate(names):
        part = context.parts.get(name)
        if part is None:
            found, batch_size = _hits(context, name, images, batch_size)
            part = {"correct": found}
            context.parts.put(name, part)
        context.progress((number + 1) / len(names))
        yield part["correct"]


def _hits(
    context: Context, name: str | None, images: Images, batch_size: int
) -> tuple[NDArray[np.bool_], int]:
    """Bool N x severities: which images are classified correctly under a corruption (None: N x 1,
    as they are); and the size of batch that fits into memory."""
    from bench.models.memory import batches_that_fit

    found = list(
        batches_that_fit(
            len(images.index), batch_size, lambda rows: _batch(context, name, images.part(rows))
        )
    )
    fitted = max(rows.stop - rows.start for rows, _ in found)
    return np.concatenate([hits for _, hits in found]), fitted


def _batch(context: Context, name: str | None, images: Images) -> NDArray[np.bool_]:
    from bench.models.predict import predicted

    versions = [images.pixels] if name is None else _corrupted(context, name, images)
    network = context.network.eval()
    found = [
        predicted(network, pixels, context.device).cpu() == images.labels for pixels in versions
    ]
    return np.stack([hit.numpy() for hit in found], 1)


def _corrupted(context: Context, name: str, images: Images) -> Iterator[Tensor]:
    """Yield the uint8 images of each severity."""
    import torch

    from bench.corruptions.base import corrupt
    from bench.models.predict import as_input

    options: Options = context.options
    clean = as_input(images.pixels, context.device)
    for severity in options.severities:
        found = corrupt(clean, name, severity, images.index.tolist(), options.corruption_seed)
        yield found.mul_(255).round_().to(torch.uint8)


def forwards(options: Options, test_samples: int) -> float:
    """How many predictions the cell spends."""
    images = min(options.samples or test_samples, test_samples)
    return float(images * (1 + len(options.corruptions) * len(options.severities)))


METRICS = {
    "corruption_error": MetricInfo("corruption error", "%", "lower", decimals=1, headline=True),
    "clean_error": MetricInfo("error on the same images, clean", "%", "lower", decimals=1),
    "error": MetricInfo("error under a corruption", "%", "lower", decimals=1),
}

MEASURE = Measure(
    "corruptions",
    run,
    options=Options,
    items=items,
    metrics=METRICS,
    forwards=forwards,
    note=note,
    refusal=refusal,
)
