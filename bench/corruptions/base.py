"""The 15 common corruptions at 5 severities: names, and the one way to apply them.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019. Steps and constants are those of the authors' scripts (see
`bench.corruptions.constants`), but for the frost, which is drawn rather than photographed (see
`bench.corruptions.weather`). Names are known without importing torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

# Where each is implemented; the order is the paper's.
_MODULES = {
    "gaussian_noise": "noise",
    "shot_noise": "noise",
    "impulse_noise": "noise",
    "defocus_blur": "blur",
    "glass_blur": "blur",
    "motion_blur": "blur",
    "zoom_blur": "blur",
    "snow": "weather",
    "frost": "weather",
    "fog": "weather",
    "brightness": "digital",
    "contrast": "digital",
    "elastic_transform": "digital",
    "pixelate": "digital",
    "jpeg_compression": "jpeg",
}
NAMES = tuple(_MODULES)
SEVERITIES = (1, 2, 3, 4, 5)
SMALLEST_SIDE = 28
CHANNELS = (1, 3)

# Values corrupted at once, all in float64: bounds the scratch space, whatever the batch.
_AT_ONCE = 2**22


def check_name(name: str) -> str:
    """Return a corruption's name.

    Raises:
        UnknownNameError: there is none of that name; the message offers the nearest.
    """
    if name in NAMES:
        return name
    hint = did_you_mean(name, NAMES)
    if not hint.startswith("; did"):
        hint = f"; known: {', '.join(NAMES)}"
    raise UnknownNameError(f"unknown corruption '{name}'{hint}")


def corrupt(
    images: Tensor, name: str, severity: int, samples: Sequence[int], seed: int = 0
) -> Tensor:
    """Corrupt 8-bit images, on their device.

    The result of an image depends on nothing but the image, the corruption, the severity, `seed`
    and the image's number: neither on the batch it is in nor on the device. All is computed in
    float64, so that rounding to 8 bits hides the order of sums.

    Args:
        images: float N x C x H x W in [0, 1], C = 1 (grey) or 3 (RGB), H and W at least 28; what
            is no multiple of 1/255 is rounded to one first.
        name: one of `NAMES`.
        severity: 1 (mildest) to 5.
        samples: number of each image, such as that in its test set; any int64.
        seed: of the random numbers.

    Returns:
        Like `images`, multiples of 1/255 (the original cuts off to 8 bits, and saves those of
        ImageNet as JPEG of quality 85, which is not done here).

    Raises:
        BenchError: an unknown name or severity, or images of another shape.
    """
    import torch

    from bench.corruptions.constants import constant
    from bench.corruptions.draws import Draws
    from bench.corruptions.filters import rounded

    check_name(name)
    _check(tuple(images.shape), severity, len(samples))
    apply = _load(name)
    setting = constant(name, severity, min(images.shape[2:]))
    step = max(1, _AT_ONCE // images[0].numel()) if len(images) else 1
    parts = []
    with torch.no_grad():
        for start in range(0, len(images), step):
            part = images[start : start + step]
            draws = Draws(seed, name, severity, samples[start : start + step], images.device)
            clean = rounded(part.double().contiguous() * 255).div_(255)
            found = rounded(apply(clean, draws, setting) * 255)
            parts.append(found.to(images.dtype).div_(255))
    return torch.cat(parts) if parts else images.clone()


def _load(name: str) -> Callable[..., Tensor]:
    found: Any = getattr(importlib.import_module(f"bench.corruptions.{_MODULES[name]}"), name)
    return found  # type: ignore[no-any-return]


def check_shape(shape: tuple[int, ...]) -> None:
    """Make sure that images of this shape can be corrupted.

    Raises:
        BenchError: they are not N x C x H x W, of 1 or 3 channels and at least 28 x 28 pixels.
    """
    if len(shape) != 4 or shape[1] not in CHANNELS:
        raise BenchError(f"corruptions take images N x C x H x W of 1 or 3 channels, not {shape}")
    if min(shape[2:]) < SMALLEST_SIDE:
        side = f"{SMALLEST_SIDE} x {SMALLEST_SIDE}"
        raise BenchError(
            f"corruptions take images of at least {side} pixels, not {shape[2]} x {shape[3]}"
        )


def _check(shape: tuple[int, ...], severity: int, samples: int) -> None:
    if severity not in SEVERITIES:
        raise BenchError(f"severity {severity} is not one of 1 to 5")
    check_shape(shape)
    if samples != shape[0]:
        raise BenchError(f"{samples} sample numbers for {shape[0]} images")
