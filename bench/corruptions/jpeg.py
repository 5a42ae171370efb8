"""JPEG compression on the device: what libjpeg makes of an image, but for the lossless coding.

ITU-T T.81 (1992) for transform and tables, JFIF 1.02 for colours; quality, chroma subsampling
(2 x 2) and its smooth enlargement are libjpeg's defaults.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.corruptions import filters
from bench.corruptions.draws import Draws

BLOCK = 8
# T.81, tables K.1 and K.2: steps of quality 50.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# JFIF: luma, and the two differences, of red, green and blue.
TO_YCC = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)
TO_RGB = ((1, 0, 1.402), (1, -0.344136286, -0.714136286), (1, 1.772, 0))


def jpeg_compression(images: Tensor, draws: Draws, quality: int) -> Tensor:
    """Compress at that quality (1 to 100) and decompress."""
    levels = images * 255
    if images.shape[1] == 1:
        return _coded(levels, _table(LUMINANCE, quality)).div_(255)
    ycc = _mixed(levels, TO_YCC)
    luma, chroma = filters.rounded(ycc[:, :1]), filters.rounded(ycc[:, 1:] + 128)
    luma = _coded(luma, _table(LUMINANCE, quality))
    height, width = images.shape[2:]
    small = _coded(_halved(chroma), _table(CHROMINANCE, quality))[..., : -(-width // 2)]
    chroma = filters.separable(small, _doubling(height), _doubling(width))
    chroma[..., 1::2] -= 1 / 16  # whole sixteenths: halves are rounded up and down in turn
    rgb = _mixed(torch.cat([luma, filters.rounded(chroma) - 128], 1), TO_RGB)
    return filters.rounded(rgb).div_(255)


def _mixed(planes: Tensor, weights: tuple[tuple[float, ...], ...]) -> Tensor:
    matrix = torch.tensor(weights, dtype=planes.dtype, device=planes.device)
    return torch.einsum("oc,nchw->nohw", matrix, planes)


def _table(steps: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """float64 8 x 8: the steps of a quality, by libjpeg's rule."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    table = torch.tensor(steps)
    return ((table * percent + 50) // 100).clamp_(1, 255).double()


def _coded(levels: Tensor, table: Tensor) -> Tensor:
    """Planes N x C x H x W of levels, transformed block by block, quantised, and back."""
    height, width = levels.shape[2:]
    padding = (0, -width % BLOCK, 0, -height % BLOCK)
    padded = F.pad(levels - 128, padding, mode="replicate")
    blocks = padded.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(3, 4)
    cosine, steps = _cosines().to(levels.device), table.to(levels.device)
    wave = (cosine @ blocks @ cosine.T) / steps
    wave = wave.abs().add_(filters.HALF).floor_().copysign_(wave) * steps
    back = (cosine.T @ wave @ cosine).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return filters.rounded(back[:, :, :height, :width] + 128)


@lru_cache(maxsize=1)
def _cosines() -> Tensor:
    """float64 8 x 8, orthonormal: the discrete cosine transform of a column."""
    rank = torch.arange(BLOCK, dtype=torch.float64)
    waves = torch.cos(math.pi / BLOCK * rank[:, None] * (rank + 0.5)) * math.sqrt(2 / BLOCK)
    waves[0] /= math.sqrt(2)
    return waves


def _halved(chroma: Tensor) -> Tensor:
    """Means of 2 x 2 pixels, as whole numbers: a half is dealt down and up in turn.

    The last column is repeated first, so that there are whole blocks of means.
    """
    height, width = chroma.shape[2:]
    padded = F.pad(chroma, (0, -width % (2 * BLOCK), 0, height % 2), mode="replicate")
    total = F.avg_pool2d(padded, 2, divisor_override=1)
    bias = 1 + torch.arange(total.shape[3], device=chroma.device) % 2
    return total.add_(bias).div_(4).floor_()


@lru_cache(maxsize=32)
def _doubling(size: int) -> Tensor:
    """float64 size x ceil(size / 2): a pixel is 3/4 its own and 1/4 the nearer neighbour."""
    half = -(-size // 2)
    place = torch.arange(size)
    own = place // 2
    near = (own + 2 * (place % 2) - 1).clamp_(0, half - 1)
    matrix = torch.zeros(size, half, dtype=torch.float64)
    matrix[place, own] += 0.75
    matrix[place, near] += 0.25
    return matrix
