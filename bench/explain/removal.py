"""Does a heatmap mark what the network needs? Pixels removed or inserted by its order.

Deletion and insertion of Petsiuk et al., "RISE" (BMVC 2018): the curve of the class's probability
against the share of pixels changed, most salient first. A good map has a small area under the
deletion curve and a large one under the insertion curve.

Pixels of equal value are taken in a random order, drawn for each image by its number and so the
same for all networks. Their order matters, for most of a rectified map is zero, and a constant map
is all tie: by pixel number it would remove every image from the top down, background before object
or head before foot, which is a map of its own. In this order a map that knows nothing scores as
random removal does; one order for all images would still favour some places in the whole mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from bench.attacks.source import KeyedSource
from bench.corruptions import filters
from bench.errors import BenchError
from bench.explain.localize import as_values

Predict = Callable[[Tensor], Tensor]
Baseline = Literal["zero", "mean", "blur"]

# Standard deviation of the blur, as a share of the image's longer side (see `blurred`).
BLUR = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """What the network says as pixels are removed or inserted.

    Attributes:
        shares: float64 S + 1, the share of pixels changed, from 0 to 1.
        probability: float64 N x (S + 1), of the target class.
        clean: float64 N, probability of the target on the whole image.
    """

    shares: Tensor
    probability: Tensor
    clean: Tensor

    def area(self) -> Tensor:
        """float64 N: area under the curve of the probability, by trapezoids."""
        return torch.trapezoid(self.probability, self.shares)


def deletion(
    predict: Predict,
    images: Tensor,
    heatmaps: Tensor,
    target: Tensor,
    steps: int = 28,
    baseline: Baseline = "zero",
    samples: Sequence[int] | None = None,
    batch_size: int = 500,
) -> Curves:
    """Replace pixels, all channels at once, by a baseline; the most salient first.

    Args:
        predict: images in [0, 1] to logits N x classes; in eval mode. Asked without gradients.
        images: N x C x H x W in [0, 1], on the device to work on.
        heatmaps: N x H x W.
        target: int64 N, the class whose probability is followed; usually the predicted one.
        steps: number of changes, of equal size as far as pixels divide; at most H * W.
        baseline: what pixels become: ``zero``, ``mean`` (the image's own, per channel), or
            ``blur`` (see `blurred`).
        samples: number of each image in its set, by which equal pixels are ordered; by default
            0 .. N - 1. Give them where a set is worked on in parts.
        batch_size: images that `predict` is given at once.

    Raises:
        BenchError: shapes differ, a heatmap holds NaN, or there are too many or no steps.
    """
    return _curves(
        predict, images, heatmaps, target, steps, baseline, samples, batch_size, insert=False
    )


def insertion(
    predict: Predict,
    images: Tensor,
    heatmaps: Tensor,
    target: Tensor,
    steps: int = 28,
    baseline: Baseline = "blur",
    samples: Sequence[int] | None = None,
    batch_size: int = 500,
) -> Curves:
    """Start from the baseline and insert the image's pixels; the most salient first.

    Arguments and errors are those of `deletion`.
    """
    return _curves(
        predict, images, heatmaps, target, steps, baseline, samples, batch_size, insert=True
    )


def replaced(images: Tensor, baseline: Baseline) -> Tensor:
    """Images N x C x H x W without what they show."""
    if baseline == "zero":
        return torch.zeros_like(images)
    if baseline == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images)
    if baseline == "blur":
        return blurred(images)
    raise BenchError(f"unknown baseline '{baseline}'; known: {', '.join(get_args(Baseline))}")


def blurred(images: Tensor) -> Tensor:
    """Gaussian blur with sigma = `BLUR` * max(H, W), borders reflected, cut off at 4 sigma.

    Relative to the image this is nine times RISE's (5 of 224 pixels), which would be 0.6 of 28
    pixels and hide nothing: a small network on Fashion-MNIST keeps 94% of its predictions then,
    62% at a tenth of the side, and 18% at this fifth, near the 10% of chance.
    """
    sigma = BLUR * max(images.shape[2:])
    return filters.gaussian_blur(images.double(), sigma, "reflect").clamp_(0, 1).to(images)


def ranks(heatmaps: Tensor, samples: Sequence[int]) -> Tensor:
    """When each pixel's turn comes: int64 N x H x W, 0 for the most salient, each once an image.

    Args:
        heatmaps: N x H x W.
        samples: number of each image, which orders its pixels of equal value.
    """
    flat = as_values(heatmaps).flatten(1)
    source = KeyedSource(0, "order of equal pixels", 0, samples, flat.device)
    rows, turns = (torch.arange(size, device=flat.device) for size in flat.shape)
    shuffled = source.permutation(rows, 0, len(turns))
    order = flat.gather(1, shuffled).argsort(dim=1, descending=True, stable=True)
    places = shuffled.gather(1, order)
    found = torch.empty_like(places).scatter_(1, places, turns.expand_as(places))
    return found.reshape(heatmaps.shape)


@torch.no_grad()
def _curves(
    predict: Predict,
    images: Tensor,
    heatmaps: Tensor,
    target: Tensor,
    steps: int,
    baseline: Baseline,
    samples: Sequence[int] | None,
    batch_size: int,
    *,
    insert: bool,
) -> Curves:
    numbers = range(len(images)) if samples is None else samples
    _check(images, heatmaps, target, numbers, steps)
    size = heatmaps.shape[1] * heatmaps.shape[2]
    changed = [step * size // steps for step in range(steps + 1)]
    probability = torch.zeros(len(images), steps + 1, dtype=torch.float64, device=images.device)
    for i in range(0, len(images), batch_size):
        rows = slice(i, i + batch_size)
        turn = ranks(heatmaps[rows], numbers[rows])[:, None].to(images.device)
        wanted = target[rows, None].to(images.device)
        whole, gone = images[rows], replaced(images[rows], baseline)
        before, after = (gone, whole) if insert else (whole, gone)
        for step, count in enumerate(changed):
            logits = predict(torch.where(turn < count, after, before))
            # In double precision a confident class is not rounded to certainty.
            found = logits.double().softmax(1).gather(1, wanted)
            probability[rows, step] = found[:, 0]
    shares = torch.tensor(changed, dtype=torch.float64, device=images.device) / size
    return Curves(shares, probability, clean=probability[:, -1 if insert else 0])


def _check(
    images: Tensor, heatmaps: Tensor, target: Tensor, samples: Sequence[int], steps: int
) -> None:
    count, size = len(heatmaps), heatmaps.shape[1:].numel()
    fits = images.ndim == 4 and heatmaps.shape == (len(images), *images.shape[2:])
    if not fits or target.shape != (count,) or len(samples) != count:
        raise BenchError(
            "images N x C x H x W, heatmaps N x H x W, target N and samples N do not fit: "
            f"{tuple(images.shape)}, {tuple(heatmaps.shape)}, {tuple(target.shape)}, "
            f"{len(samples)}"
        )
    if not 1 <= steps <= size:
        raise BenchError(f"steps must be 1 to {size} (pixels), not {steps}")
