"""Pictures of class activation maps: figures 7, 8 and 14 of the paper, and objects found.

Everything drawn comes as plain arrays; all panels share one scale
(`leaderboard.figures.heat_colors`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from leaderboard.figures.heat_colors import FOUND, NEITHER, dimmed, found_map, overlay, scale_bar
from leaderboard.figures.looks import WIDTH, styled
from leaderboard.figures.sheet import FAINT, LINE, MARGIN, Sheet, fitted, picture
from leaderboard.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from leaderboard.figures.heat_colors import Bools, Floats, Pixels

# Inches: between panels and blocks of panels, for the names of rows, above and below all panels.
_GAP, _BETWEEN, _LABEL = 0.07, 0.3, 1.12
_BESIDE = _LABEL - 0.1  # for text, less its distance to what is left and right of it
_TOP, _BOTTOM = 0.4, 0.68
_INNER = WIDTH - 2 * MARGIN
_MOST_ACROSS = 7
_PREDICTIONS = "below a map: probability of the predicted class, named where it is not the true one"
_RATIOS = "P, R: precision and recall of the pixels that are above the threshold"


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """A heatmap of one layer: H x W in [0, 1]; `size` before it was scaled to the image;
    `undefined` where it is 0/0 and shows nothing."""

    layer: str
    size: tuple[int, int]
    heat: Floats
    undefined: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A heatmap cut at a threshold against the object's mask: bool H x W each; precision and recall
    in [0, 1], NaN for 0/0."""

    mask: Bools
    predicted: Bools
    precision: float
    recall: float


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What one variant makes of an image: the predicted class with its probability in [0, 1], and
    the maps in order of depth. `correct` is None where the true class is not known."""

    variant: str
    predicted: str
    probability: float
    correct: bool | None
    maps: tuple[Map, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One test image: uint8 H x W x 3, number, true class (or empty), what each variant makes of
    it, in the same order for each image; `cuts` of the last maps, where the object is known."""

    pixels: Pixels
    number: int
    title: str
    seen: tuple[Seen, ...]
    cuts: tuple[Cut, ...] = ()


def layers_figure(title: str, note: str, images: Sequence[Shown]) -> Figure:
    """For each image a block: a row for each variant, a column for each layer (figure 7)."""
    block = _Block.of(images)
    across = max(1, int((_INNER + _BETWEEN) / (block.width + _BETWEEN)))
    with styled():
        sheet = Sheet(_TOP + -(-len(images) // across) * block.height + _BOTTOM)
        for number, image in enumerate(images):
            x = MARGIN + number % across * (block.width + _BETWEEN)
            block.draw(sheet, x, _TOP + number // across * block.height, image)
        return _finished(sheet, title, note)


@dataclass(frozen=True, slots=True)
class _Block:
    """The place of one image in `layers_figure`; `above` is room for names above each row."""

    columns: int
    side: float
    above: Sequence[float]

    @classmethod
    def of(cls, images: Sequence[Shown]) -> _Block:
        rows = images[0].seen
        columns = max(len(one.maps) for one in rows)
        side = min(1.3, (_INNER - _LABEL) / (columns + 1) - _GAP)
        lines = max(_map_name(one, side).count("\n") for row in rows for one in row.maps)
        # Above every row where rows differ in what their maps are, else above the first.
        differ = len({tuple((one.layer, one.size) for one in row.maps) for row in rows}) > 1
        below = (1.4 + lines) * LINE if differ else 0.0
        return cls(columns, side, [_head(images, side), *[below] * (len(rows) - 1)])

    @property
    def width(self) -> float:
        return (self.columns + 1) * (self.side + _GAP) + _LABEL

    @property
    def height(self) -> float:
        return sum(self.side + _GAP + above for above in self.above) + 0.14

    def draw(self, sheet: Sheet, x: float, y: float, image: Shown) -> None:
        first = x + self.side + _LABEL + _GAP
        picture(sheet.axes(x, y + self.above[0], self.side), image.pixels)
        _name_image(sheet, x, y + self.above[0], self.side, image)
        for one, above in zip(image.seen, self.above, strict=True):
            y += above
            _label(sheet, first - _GAP, y + self.side / 2, one.variant, _prediction(one))
            for column, drawn in enumerate(one.maps):
                left = first + column * (self.side + _GAP)
                if above:
                    name = _map_name(drawn, self.side)
                    sheet.above(left + self.side / 2, y, name, fontsize=8.5)
                _draw_heat(sheet.axes(left, y, self.side), image.pixels, drawn)
            y += self.side + _GAP


def last_figure(title: str, note: str, images: Sequence[Shown]) -> Figure:
    """A column for each image: the image, then the last map of each variant (figures 8 and 14)."""
    rows = [_Row("", "image", _draw_image)]
    for number, one in enumerate(images[0].seen):
        below = partial(_said, number=number)
        rows.append(
            _Row(
                one.variant,
                _map_name(one.maps[-1], _BESIDE),
                partial(_draw_last, number=number),
                below,
            )
        )
    with styled():
        sheet = _columns(images, rows, _BOTTOM)
        return _finished(sheet, title, note, _PREDICTIONS)


def localization_figure(title: str, note: str, images: Sequence[Shown], threshold: float) -> Figure:
    """A column for each image: the image, its object, and for each variant the heatmap and which
    pixels of the object it finds above the threshold. All images need their cuts."""
    rows = [_Row("", "image", _draw_image), _Row("", "object", _draw_mask)]
    for number, one in enumerate(images[0].seen):
        rows.append(
            _Row(one.variant, _map_name(one.maps[-1], _BESIDE), partial(_draw_last, number=number))
        )
        found = partial(_draw_found, number=number)
        below = partial(_ratios, number=number)
        rows.append(_Row(one.variant, f"heat > {threshold:g}", found, below))
    with styled():
        sheet = _columns(images, rows, _BOTTOM + 0.3)
        colors = {**FOUND, "neither": NEITHER}
        patches = {name: Patch(color=color) for name, color in colors.items()}
        sheet.figure.legend(
            patches.values(), patches.keys(), loc="upper center", ncols=len(patches),
            bbox_to_anchor=(0.5, (_BOTTOM + 0.36) / sheet.height), handlelength=1.2,
            columnspacing=1.6,
        )  # fmt: skip
        return _finished(sheet, title, note, _RATIOS)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of panels: its name and what is below it, how a panel is drawn, and what is written
    below that."""

    name: str
    more: str
    draw: Callable[[Axes, Shown], None]
    below: Callable[[Shown], str] | None = None


def _columns(images: Sequence[Shown], rows: Sequence[_Row], bottom: float) -> Sheet:
    """Columns of images, each below its number and class, in as few bands as they fit into."""
    bands = -(-len(images) // _MOST_ACROSS)
    across = -(-len(images) // bands)
    side = min(1.5, (_INNER - _LABEL) / across - _GAP)
    heights = [side + _GAP + (1.2 * LINE if row.below else 0.0) for row in rows]
    head = _head(images, side)
    tall = head + sum(heights) + 0.16
    sheet = Sheet(_TOP + bands * tall + bottom)
    for number, image in enumerate(images):
        x = MARGIN + _LABEL + _GAP + number % across * (side + _GAP)
        y = _TOP + number // across * tall + head
        _name_image(sheet, x, y, side, image)
        for row, height in zip(rows, heights, strict=True):
            if number % across == 0:
                _label(sheet, x - _GAP, y + side / 2, row.name, row.more)
            row.draw(sheet.axes(x, y, side), image)
            if row.below:
                text = fitted(row.below(image), side)
                sheet.text(x + side / 2, y + side + 0.03, text, ha="center", fontsize=8.5)
            y += height
    return sheet


def _draw_image(axes: Axes, image: Shown) -> None:
    picture(axes, image.pixels)


def _draw_mask(axes: Axes, image: Shown) -> None:
    picture(axes, np.repeat(np.uint8(255) * image.cuts[0].mask[..., None], 3, axis=2))


def _draw_last(axes: Axes, image: Shown, number: int) -> None:
    _draw_heat(axes, image.pixels, image.seen[number].maps[-1])


def _draw_found(axes: Axes, image: Shown, number: int) -> None:
    cut = image.cuts[number]
    picture(axes, found_map(image.pixels, cut.mask, cut.predicted))


def _draw_heat(axes: Axes, pixels: Pixels, drawn: Map) -> None:
    if not drawn.undefined:
        picture(axes, overlay(pixels, drawn.heat))
        return
    picture(axes, dimmed(pixels))
    axes.text(
        0.5, 0.5, "0/0:\nno map", transform=axes.transAxes, ha="center", va="center",
        color="white", fontsize=8.5,
    )  # fmt: skip


def _head(images: Sequence[Shown], side: float) -> float:
    """Room above images for their class, on one line or two, and number."""
    return (2.4 + max(_class_name(image, side).count("\n") for image in images)) * LINE


def _class_name(image: Shown, side: float) -> str:
    return fitted(image.title, side, 2, bold=True)


def _name_image(sheet: Sheet, x: float, y: float, side: float, image: Shown) -> None:
    """Its class and number, above."""
    sheet.above(x + side / 2, y, f"image {image.number}", color=FAINT)
    sheet.above(x + side / 2, y - LINE, _class_name(image, side), fontweight="bold")


def _map_name(drawn: Map, width: float) -> str:
    """Its layer and size, on one line if they fit; of the path of a module what comes last."""
    name, size = one_line(drawn.layer), " × ".join(map(str, drawn.size))
    whole = f"{name}, {size}"
    if fitted(whole, width) == whole:
        return whole
    parts = name.split(".")
    ends = (name, *("…" + ".".join(parts[start:]) for start in range(1, len(parts))))
    short = next((end for end in ends if fitted(end, width) == end), name)
    return f"{fitted(short, width)}\n{size}"


def _prediction(one: Seen) -> str:
    wrong = "\n(wrong)" if one.correct is False else ""
    return f"{fitted(one.predicted, _BESIDE, 2)}\n{100 * one.probability:.1f} %{wrong}"


def _said(image: Shown, number: int) -> str:
    """The probability, and the class where it is not the true one."""
    one = image.seen[number]
    sure = f"{100 * one.probability:.0f} %"
    return sure if one.correct else f"{one.predicted} {sure}"


def _ratios(image: Shown, number: int) -> str:
    cut = image.cuts[number]
    return f"P {_percent(cut.precision)}, R {_percent(cut.recall)}"


def _percent(share: float) -> str:
    return "0/0" if np.isnan(share) else f"{100 * share:.0f} %"


def _label(sheet: Sheet, right: float, middle: float, name: str, more: str) -> None:
    """The name of a row, bold, and what is below it, left of its panels."""
    lines = more.count("\n") + 1 + bool(name)
    top = middle - lines * LINE / 2
    if name:
        text = fitted(name, _BESIDE, size=10, bold=True)
        sheet.text(right - 0.06, top, text, ha="right", fontsize=10, fontweight="bold")
        top += 1.1 * LINE
    sheet.text(right - 0.06, top, more, ha="right", color=FAINT)


def _finished(sheet: Sheet, title: str, *notes: str) -> Figure:
    """With its title above, and below the scale and how the maps were made."""
    sheet.text(MARGIN, 0.1, one_line(title, 100), fontsize=11, fontweight="bold")
    top = sheet.height - 0.48
    scale_bar(sheet.axes(MARGIN + _LABEL + _GAP, top, 1.8, 0.2))
    sheet.text(MARGIN + _LABEL, top + 0.1, "heatmap", ha="right", va="center", color=FAINT)
    lines = ["over bright (top) to dark (bottom) parts of an image", *notes]
    x = MARGIN + _LABEL + _GAP + 2.0
    sheet.text(x, top - 0.04, "\n".join(lines), color=FAINT, fontsize=8.5)
    return sheet.figure
