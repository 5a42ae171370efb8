"""How heat looks on an image: one scale from 0 to 1 for every picture.

The image is grey under "inferno", which is perceptually uniform and whose 0 is black: so colour
means heat wherever it shows, also to readers who tell few colours apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.floating[Any]]
    Pixels = NDArray[np.uint8]

_HEAT, _SHARE = colormaps["inferno"], 0.55  # of the heat in an overlay
_LIFT = 0.7  # exponent: brings out what is dark in an image, which the heat's black darkens
_LUMA = np.array([0.299, 0.587, 0.114])
_DIM = 0.35

# Apart in hue and lightness, for all kinds of sight.
FOUND = {
    "TP: object, found": to_rgb("#f0e442"),
    "FP: beside it": to_rgb("#d55e00"),
    "FN: missed": to_rgb("#56b4e9"),
}
NEITHER = (0.5 * _DIM,) * 3


def overlay(pixels: Pixels, heat: Floats) -> Floats:
    """An image H x W x 3 in grey with heat H x W in [0, 1] over it; H x W x 3 in [0, 1]."""
    return _mixed(_grey(pixels), heat)


def dimmed(pixels: Pixels) -> Floats:
    """An image H x W x 3 in dark grey; H x W x 3 in [0, 1]."""
    return np.repeat(_DIM * _grey(pixels)[..., None], 3, axis=2)


def found_map(pixels: Pixels, mask: Bools, predicted: Bools) -> Floats:
    """Which pixels of the object are found (TP), which others are taken for it (FP), which missed
    (FN), by colour, on the dimmed image; H x W x 3 in [0, 1]."""
    shown = dimmed(pixels)
    parts = mask & predicted, predicted & ~mask, mask & ~predicted
    for part, color in zip(parts, FOUND.values(), strict=True):
        shown[part] = color
    return shown


def scale_bar(axes: Axes) -> None:
    """The colours of all heat from left to right, over white above to black below."""
    heat = np.linspace(0, 1, 256)[None, :].repeat(32, axis=0)
    bar = _mixed(np.linspace(1, 0, 32)[:, None], heat)
    axes.imshow(bar, aspect="auto", extent=(0, 1, 0, 1))
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.tick_params(axis="x", length=2, pad=2)


def _grey(pixels: Pixels) -> Floats:
    grey: Floats = pixels.astype(np.float64) @ _LUMA / 255
    return grey


def _mixed(grey: Floats, heat: Floats) -> Floats:
    colors = _HEAT(np.clip(heat, 0, 1))[..., :3]
    mixed: Floats = (1 - _SHARE) * grey[..., None] ** _LIFT + _SHARE * colors
    return mixed
