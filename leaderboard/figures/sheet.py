"""A page of pictures, laid out in inches from its upper left corner."""

from __future__ import annotations

import warnings
from functools import lru_cache
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from leaderboard.figures.looks import WIDTH, blank
from leaderboard.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

INK, FAINT = "#16191f", "#5b6270"
MARGIN = 0.14
LINE = 0.16  # from one line of text to the next
# An image of fewer pixels to a side is shown with its pixels, a larger one smoothly.
_SMOOTH_FROM = 64


class Sheet:
    """A figure as wide as a page; make it, and draw on it, within `styled`."""

    def __init__(self, height: float) -> None:
        self.height = height
        self.figure: Figure = blank(WIDTH, height)
        self.figure.set_layout_engine("none")

    def axes(self, x: float, y: float, width: float, height: float | None = None) -> Axes:
        """Axes without ticks whose upper left corner is at x, y; square without a height."""
        tall = width if height is None else height
        place = x / WIDTH, 1 - (y + tall) / self.height, width / WIDTH, tall / self.height
        axes = self.figure.add_axes(place, xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set(visible=True, linewidth=0.6)
        return axes

    def text(self, x: float, y: float, text: str, **more: Any) -> None:
        """Text whose upper left corner (or as `ha` and `va` say) is at x, y."""
        chosen: dict[str, Any] = {"va": "top", "color": INK, "fontsize": 9, "linespacing": 1.15}
        self.figure.text(x / WIDTH, 1 - y / self.height, text, **{**chosen, **more})

    def above(self, middle: float, y: float, text: str, **more: Any) -> None:
        """Text centred above what begins at y."""
        self.text(middle, y - 0.085, text, ha="center", va="baseline", **more)


def picture(axes: Axes, pixels: NDArray[Any]) -> None:
    """An image H x W x 3, uint8 or in [0, 1], with its pixels or, if it has many, smoothly."""
    shown = pixels if pixels.dtype == np.uint8 else np.clip(pixels, 0, 1)
    small = min(pixels.shape[:2]) < _SMOOTH_FROM
    axes.imshow(shown, interpolation="nearest" if small else "hanning")


def fitted(text: str, width: float, lines: int = 1, size: float = 9, *, bold: bool = False) -> str:
    """Text broken into lines no wider than so many inches, shortened where it takes more lines."""
    line = one_line(text)
    letters = len(line)
    while True:
        broken = wrap(line, max(1, letters)) if lines > 1 else [line]
        if len(broken) > lines or letters < len(line):
            rest = " ".join(broken[lines - 1 :])
            broken = [*broken[: lines - 1], one_line(rest, max(1, letters))]
        if letters <= 1 or all(_inches(part, size, bold) <= width for part in broken):
            return "\n".join(broken)
        letters -= 1


@lru_cache(maxsize=4096)
def _inches(text: str, size: float, bold: bool) -> float:
    """How wide text is."""
    font = FontProperties(family=["DejaVu Sans"], size=size, weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        found: float = text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
    return found / 72
