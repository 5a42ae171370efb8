"""Augmentation on the device, one draw per image, from a generator of its own.

It follows the released code of the paper: continuous shifts with bilinear interpolation and
replicated edges, horizontal flips, random crops, PCA colour jitter per image. The random numbers
are drawn first (`draw`) and used afterwards (`apply`), so that a captured CUDA graph of the use
takes new ones at every replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.suite.recipe import Augment

Draws = dict[str, Tensor]


def augment(images: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    """Augment images N x C x H x W (float); crops change H and W."""
    draws = on_device(draw(settings, images.shape, generator), images.device)
    return apply(images, settings, draws)


def draw(settings: Augment, shape: Sequence[int], generator: torch.Generator) -> Draws:
    """The random numbers for a batch of images N x C x H x W, by purpose.

    They are drawn on the CPU, so they are the same on every device.

    Raises:
        ValueError: the padded images are smaller than the crop.
    """
    count, channels, height, width = shape
    found: Draws = {}
    if settings.pca_jitter:
        alpha = torch.randn(count, channels, generator=generator)
        found["jitter"] = alpha * settings.pca_jitter
    if settings.shift:
        offset = torch.rand(count, 2, generator=generator) * 2 - 1
        found["shift"] = offset * settings.shift
    if settings.crop is not None:
        size, border = settings.crop, 2 * settings.crop_padding
        if size > min(height, width) + border:
            padded = f"{height + border} x {width + border}"
            raise ValueError(f"crop: {size} is larger than the {padded} training images")
        for name, side in (("top", height), ("left", width)):
            last = side + border - size
            found[name] = torch.randint(0, last + 1, (count,), generator=generator)
    if settings.flip:
        found["flip"] = torch.rand(count, generator=generator) < settings.flip
    return found


def on_device(draws: Draws, device: torch.device) -> Draws:
    """The draws on the device; the host does not wait for them to travel."""
    return {name: drawn.to(device, non_blocking=True) for name, drawn in draws.items()}


def apply(
    images: Tensor, settings: Augment, draws: Mapping[str, Tensor], axes: Tensor | None = None
) -> Tensor:
    """Augment images by numbers drawn for them.

    Args:
        images: float N x C x H x W, normalised.
        settings: that the numbers were drawn for.
        draws: on the device of the images.
        axes: their `colour_axes`, if known already.
    """
    if "jitter" in draws:
        axes = colour_axes(images) if axes is None else axes
        images = images + (axes * draws["jitter"][:, None, :]).sum(2)[:, :, None, None]
    if "shift" in draws:
        images = _shifted(images, draws["shift"])
    if settings.crop is not None:
        images = _cropped(images, settings.crop, settings.crop_padding, draws)
    if "flip" in draws:
        images = torch.where(draws["flip"][:, None, None, None], images.flip(3), images)
    return images


def _shifted(images: Tensor, offset: Tensor) -> Tensor:
    """Shift by the offsets N x 2, as shares of the side, along x and y."""
    count, _, height, width = images.shape
    unit = torch.eye(2, device=images.device).expand(count, 2, 2)
    # Grid coordinates span 2 per side.
    theta = torch.cat([unit, 2 * offset[:, :, None]], 2)
    grid = F.affine_grid(theta, [count, 1, height, width], align_corners=False)
    moved: Tensor = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved


def _cropped(images: Tensor, size: int, padding: int, draws: Mapping[str, Tensor]) -> Tensor:
    """Cut a square of `size` at the drawn place from every image, zero-padded first."""
    if padding:
        images = F.pad(images, [padding] * 4)
    span = torch.arange(size, device=images.device)
    rows = (draws["top"][:, None] + span)[:, None, :, None]
    columns = (draws["left"][:, None] + span)[:, None, None, :]
    which = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return images[which, channel, rows, columns]


def colour_axes(images: Tensor) -> Tensor:
    """What PCA jitter adds per unit of each draw: N x C x C, the last axis counts the draws.

    As released: the image's colours are standardised, their C x C covariance decomposed, and
    the image moved by sum(alpha_i * lambda_i * v_i) scaled by its own standard deviation. It
    belongs to the image alone, so a training decomposes each image once; on CUDA the
    decomposition waits for the device.
    """
    colours = images.flatten(2)
    std = colours.std(2, keepdim=True).clamp_min(1e-6)
    standard = (colours - colours.mean(2, keepdim=True)) / std
    covariance = standard @ standard.transpose(1, 2) / colours.shape[2]
    values, vectors = torch.linalg.eigh(covariance)
    # Eigenvectors have no sign of their own: libraries differ, so the sum decides.
    vectors = torch.where(vectors.sum(1, keepdim=True) < 0, -vectors, vectors)
    axes: Tensor = vectors * values[:, None, :] * std
    return axes
