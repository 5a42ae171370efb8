"""The measured, effective receptive field: what of an image really moves a unit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from arches.choices import require_count
from arches.surface import ScaledNetwork

# Share of a Gaussian beyond two standard deviations.
_TAIL = 0.0455


@dataclass(frozen=True, slots=True)
class EffectiveField:
    """Effective receptive field of the unit in the centre of a feature map.

    Attributes:
        shape: channels, height and width of the map.
        influence: H x W, mean absolute gradient of the unit with respect to each pixel, scaled to
            a maximum of 1.
        side: square root of the number of pixels whose influence exceeds 4.55 % of the maximum
            (what lies beyond two standard deviations of a Gaussian), in pixels.
        extent: side in pixels of the smallest box around all pixels with any influence. In a
            top-down network it can exceed Equation (1) by less than the coarsest factor, because
            replicated pixels straddle the edge.
    """

    shape: tuple[int, int, int]
    influence: Tensor
    side: float
    extent: int


def effective_fields(
    model: ScaledNetwork, image_size: int | None = None, samples: int = 8, seed: int = 0
) -> dict[str, EffectiveField]:
    """Measure the effective receptive fields of the named feature maps.

    The gradient of the centre unit, summed over channels, is taken with respect to images of
    standard normal noise, in evaluation mode and with the weights as they are (Luo et al., 2016,
    "Understanding the effective receptive field in deep convolutional neural networks").

    Args:
        model: any network of this package; its mode and gradients are left as they were.
        image_size: side of the images; that of the network's own data set where ``None``.
        samples: number of images to average over.
        seed: of the noise.

    Returns:
        One field for each of the model's ``feature_names``.

    Raises:
        ValueError: for a number below 1, or an image too small for the network.
    """
    side = model.image_size if image_size is None else image_size
    require_count("image_size", side)
    require_count("samples", samples)
    parameter = next(model.parameters())
    shape = (samples, model.in_chans, side, side)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    images = noise.to(parameter).requires_grad_()
    training = model.training
    model.eval()
    try:
        with torch.enable_grad():
            maps = model.forward_features(images)
            return {name: _field(maps[name], images) for name in model.feature_names}
    finally:
        model.train(training)


def _field(feature: Tensor, images: Tensor) -> EffectiveField:
    """The field of one map by the gradient of its centre."""
    row, column = feature.shape[2] // 2, feature.shape[3] // 2
    centre = feature[:, :, row, column].sum()
    (gradient,) = torch.autograd.grad(centre, images, retain_graph=True)
    influence = gradient.abs().mean(dim=(0, 1)).float().cpu()
    peak = influence.max().clamp_min(torch.finfo(influence.dtype).tiny)
    influence = influence / peak
    reached = influence.nonzero()
    extent = int((reached.amax(0) - reached.amin(0)).max()) + 1 if len(reached) else 0
    side = math.sqrt(int((influence > _TAIL).sum()))
    _, channels, height, width = feature.shape
    return EffectiveField((channels, height, width), influence, side, extent)
