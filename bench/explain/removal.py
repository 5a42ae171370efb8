"""Does a heatmap mark what the network needs? Pixels removed or inserted by its order.

Deletion and insertion of Petsiuk et al., "RISE" (BMVC 2018): the curve of the class's probability
against the share of pixels changed, most salient first. A good map has a small area under the
deletion curve and a large one under the insertion curve.

Pixels of equal value are taken in a random order, drawn once and for all: the same for every image
and network. Their order matters, for most of a rectified map is zero, and a constant map is all
tie: by pixel number it would remove an image from the top down, background before object, which is
a map of its own. In this order a map that knows nothing scores as random removal does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from bench.attacks.source import KeyedSource
from bench.corruptions import filters
from bench.errors import BenchError
from bench.explain.localize import as_values

Predict = Callable[[Tensor], Tensor]
Baseline = Literal["zero", "mean", "blur"]

# Standard deviation of the blur, as a share of the image's longer side.
BLUR = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """What the network says as pixels are removed or inserted.

    Attributes:
        shares: float64 S + 1, the share of pixels changed, from 0 to 1.
        probability: float64 N x (S + 1), of the target class.
        kept: bool N x (S + 1), whether the target is still (or already) the predicted class.
        clean: float64 N, probability of the target on the whole image.
    """

    shares: Tensor
    probability: Tensor
    kept: Tensor
    clean: Tensor

    def area(self) -> Tensor:
        """float64 N: area under the curve of the probability, by trapezoids."""
        return torch.trapezoid(self.probability, self.shares)

    def area_kept(self) -> Tensor:
        """float64 N: area under the curve of `kept`."""
        return torch.trapezoid(self.kept.double(), self.shares)

    def normalised(self) -> Curves:
        """The same with probabilities as multiples of the clean one, which networks of different
        confidence share; above 1 where the network grows more confident. NaN where the clean
        probability is 0.
        """
        clean = self.clean.where(self.clean > 0, torch.nan)
        return replace(self, probability=self.probability / clean[:, None])


def deletion(
    predict: Predict,
    images: Tensor,
    heatmaps: Tensor,
    target: Tensor,
    steps: int = 28,
    baseline: Baseline = "zero",
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
        batch_size: images that `predict` is given at once.

    Raises:
        BenchError: shapes differ, a heatmap holds NaN, or there are too many or no steps.
    """
    return _curves(predict, images, heatmaps, target, steps, baseline, batch_size, insert=False)


def insertion(
    predict: Predict,
    images: Tensor,
    heatmaps: Tensor,
    target: Tensor,
    steps: int = 28,
    baseline: Baseline = "blur",
    batch_size: int = 500,
) -> Curves:
    """Start from the baseline and insert the image's pixels; the most salient first.

    Arguments and errors are those of `deletion`.
    """
    return _curves(predict, images, heatmaps, target, steps, baseline, batch_size, insert=True)


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

    Relative to the image, this is stronger than RISE's 5 of 224 pixels (a kernel of 11 pixels):
    at 28 pixels that would be sigma 0.6, and the object would be as plain as before.
    """
    sigma = BLUR * max(images.shape[2:])
    return filters.gaussian_blur(images.double(), sigma, "reflect").clamp_(0, 1).to(images)


def ranks(heatmaps: Tensor) -> Tensor:
    """When each pixel's turn comes: int64 N x H x W, 0 for the most salient, each once an image."""
    flat = as_values(heatmaps).flatten(1)
    size = flat.shape[1]
    shuffled = _tie_order(size, flat.device)
    order = flat[:, shuffled].argsort(dim=1, descending=True, stable=True)
    turns = torch.arange(size, device=flat.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, shuffled[order], turns).reshape(heatmaps.shape)


def _tie_order(size: int, device: torch.device) -> Tensor:
    """int64 `size`: the one random order of pixels, the same on every device."""
    source = KeyedSource(0, "order of equal pixels", 0, [0], device)
    return source.permutation(torch.zeros(1, dtype=torch.int64, device=device), 0, size)[0]


@torch.no_grad()
def _curves(
    predict: Predict,
    images: Tensor,
    heatmaps: Tensor,
    target: Tensor,
    steps: int,
    baseline: Baseline,
    batch_size: int,
    *,
    insert: bool,
) -> Curves:
    _check(images, heatmaps, target, steps)
    size = heatmaps.shape[1] * heatmaps.shape[2]
    changed = [step * size // steps for step in range(steps + 1)]
    probability = torch.zeros(len(images), steps + 1, dtype=torch.float64, device=images.device)
    kept = torch.zeros_like(probability, dtype=torch.bool)
    for i in range(0, len(images), batch_size):
        rows = slice(i, i + batch_size)
        turn = ranks(heatmaps[rows])[:, None].to(images.device)
        wanted = target[rows, None].to(images.device)
        whole, gone = images[rows], replaced(images[rows], baseline)
        before, after = (gone, whole) if insert else (whole, gone)
        for step, count in enumerate(changed):
            logits = predict(torch.where(turn < count, after, before))
            # In double precision a confident class is not rounded to certainty.
            found = logits.double().softmax(1).gather(1, wanted)
            probability[rows, step] = found[:, 0]
            kept[rows, step] = logits.argmax(1) == wanted[:, 0]
    shares = torch.tensor(changed, dtype=torch.float64, device=images.device) / size
    return Curves(shares, probability, kept, clean=probability[:, -1 if insert else 0])


def _check(images: Tensor, heatmaps: Tensor, target: Tensor, steps: int) -> None:
    count, height, width = len(images), *images.shape[-2:]
    if images.ndim != 4 or heatmaps.shape != (count, height, width) or target.shape != (count,):
        raise BenchError(
            f"images N x C x H x W, heatmaps N x H x W and target N do not fit: "
            f"{tuple(images.shape)}, {tuple(heatmaps.shape)}, {tuple(target.shape)}"
        )
    if not 1 <= steps <= height * width:
        raise BenchError(f"steps must be 1 to {height * width} (pixels), not {steps}")
