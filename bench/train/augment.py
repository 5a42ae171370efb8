"""Augmentation on the device, one draw per image, from a generator of its own.

It follows the released code of the paper: continuous shifts with bilinear interpolation and
replicated edges, horizontal flips, random crops, PCA colour jitter per image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.suite.recipe import Augment


def augment(images: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    """Augment images N x C x H x W (float); crops change H and W.

    The random numbers are drawn on the CPU, so they are the same on every device; they travel
    there without the host waiting.
    """
    if settings.pca_jitter:
        images = pca_jitter(images, settings.pca_jitter, generator)
    if settings.shift:
        images = shift(images, settings.shift, generator)
    if settings.crop is not None:
        images = crop(images, settings.crop, settings.crop_padding, generator)
    if settings.flip:
        flips = torch.rand(len(images), generator=generator) < settings.flip
        flips = flips.to(images.device, non_blocking=True)[:, None, None, None]
        images = torch.where(flips, images.flip(3), images)
    return images


def shift(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Shift by up to `share` of the side along each axis, sub-pixel, edges replicated."""
    count, _, height, width = images.shape
    offset = (torch.rand(count, 2, generator=generator) * 2 - 1) * share
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, :, 2] = 2 * offset  # grid coordinates span 2 per side
    theta = theta.to(images, non_blocking=True)
    grid = F.affine_grid(theta, [count, 1, height, width], align_corners=False)
    moved: Tensor = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved


def crop(images: Tensor, size: int, padding: int, generator: torch.Generator) -> Tensor:
    """Cut a random `size` x `size` square from every image, zero-padded first.

    Raises:
        ValueError: the padded images are smaller than `size`.
    """
    if padding:
        images = F.pad(images, [padding] * 4)
    count, _, height, width = images.shape
    if size > min(height, width):
        raise ValueError(f"crop: {size} is larger than the {height} x {width} training images")
    top = torch.randint(0, height - size + 1, (count,), generator=generator)
    left = torch.randint(0, width - size + 1, (count,), generator=generator)
    span = torch.arange(size)
    rows = (top[:, None] + span).to(images.device, non_blocking=True)[:, None, :, None]
    columns = (left[:, None] + span).to(images.device, non_blocking=True)[:, None, None, :]
    which = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return images[which, channel, rows, columns]


def pca_jitter(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Move every image along the principal axes of its own colours.

    As released: the image's colours are standardised, their C x C covariance decomposed, and
    the image moved by sum(alpha_i * lambda_i * v_i) scaled by its own standard deviation, with
    alpha ~ N(0, deviation). On CUDA the decomposition waits for the device.
    """
    count, channels = images.shape[:2]
    colours = images.flatten(2)
    std = colours.std(2, keepdim=True).clamp_min(1e-6)
    standard = (colours - colours.mean(2, keepdim=True)) / std
    covariance = standard @ standard.transpose(1, 2) / colours.shape[2]
    values, vectors = torch.linalg.eigh(covariance)
    # Eigenvectors have no sign of their own: libraries differ, so the sum decides.
    vectors = torch.where(vectors.sum(1, keepdim=True) < 0, -vectors, vectors)
    alpha = torch.randn(count, channels, generator=generator) * deviation
    alpha = alpha.to(images, non_blocking=True)
    moved = (vectors * (alpha * values)[:, None, :]).sum(2, keepdim=True) * std
    jittered: Tensor = images + moved[..., None]
    return jittered
