"""Accuracy loss against L2, drawn with Matplotlib's Agg, without pyplot and its global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from leaderboard.figures.looks import (
    WIDTH,
    Looks,
    blank,
    legend,
    legend_height,
    line,
    looks,
    png,
    styled,
)
from leaderboard.numbers.curves import Panel
from leaderboard.text import one_line, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["grid_figure", "loss_figure", "png"]

_HEIGHTS = {1: 3.6, 2: 2.8, 3: 2.4}  # inches of a row, by panels beside each other
_LOSS, _DISTANCE = "Accuracy loss (points)", "L₂ distance"


def loss_figure(title: str, panels: Sequence[Panel]) -> Figure:
    """Accuracy loss against L2: one panel per attack, one legend for all."""
    look = _looks(panels)
    rows, columns = _grid(len(panels))
    beside = len(panels) == 1
    below = 0.0 if beside else legend_height(look)
    with styled():
        figure = blank(WIDTH, rows * _HEIGHTS.get(columns, 2.1) + below + 0.4)
        for index, panel in enumerate(panels):
            axes = figure.add_subplot(rows, columns, index + 1)
            _draw(axes, panel, look)
            axes.set_title(one_line(words(panel.attack), 30))
            if index % columns:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel(_LOSS)
            if index + columns >= len(panels):
                axes.set_xlabel(_DISTANCE)
        figure.suptitle(one_line(title, 80), fontsize=11, fontweight="bold")
        legend(figure, look, [line(one, [], []) for one in look.values()], beside=beside)
    return figure


def grid_figure(columns: Mapping[str, Sequence[Panel]]) -> Figure:
    """Accuracy loss against L2 for several data sets: a column each, a row for each attack, as in
    figures 6, 10 and 11 of the paper. An attack that a data set lacks leaves its place empty."""
    attacks = list(dict.fromkeys(panel.attack for found in columns.values() for panel in found))
    look = _looks([panel for found in columns.values() for panel in found])
    with styled():
        height = {1: 2.6, 2: 2.1}.get(len(columns), 1.55)
        figure = blank(WIDTH, height * len(attacks) + legend_height(look) + 0.5)
        first: dict[int, Axes] = {}  # of each row, in the first column
        numbered: set[int] = set()
        for column, (dataset, found) in enumerate(columns.items()):
            of_attack = {panel.attack: panel for panel in found}
            present = [row for row, attack in enumerate(attacks) if attack in of_attack]
            for row in present:
                place = row * len(columns) + column + 1
                axes = figure.add_subplot(len(attacks), len(columns), place)
                _draw(axes, of_attack[attacks[row]], look)
                if row == present[0]:
                    axes.set_title(one_line(dataset, 30), fontweight="bold")
                if row == present[-1]:
                    axes.set_xlabel(_DISTANCE)
                if not column:
                    first[row] = axes
                if row in numbered:
                    axes.tick_params(labelleft=False)
                numbered.add(row)
        _name_rows(figure, first, attacks, len(columns))
        figure.supylabel(_LOSS, fontsize=9, color="#333842")
        legend(figure, look, [line(one, [], []) for one in look.values()], beside=False)
    return figure


def _name_rows(
    figure: Figure, first: Mapping[int, Axes], attacks: Sequence[str], columns: int
) -> None:
    """The attack's name left of its row, in the first panel there or in an invisible one."""
    for row, attack in enumerate(attacks):
        axes = first.get(row)
        if axes is None:
            axes = figure.add_subplot(len(attacks), columns, row * columns + 1, frame_on=False)
            axes.set(xticks=[], yticks=[])
        axes.set_ylabel(_wrapped(words(attack)), color="#16191f", fontsize=9.5)


def _wrapped(name: str) -> str:
    """On two lines, broken at the space nearest to the middle."""
    name = one_line(name, 30)
    spaces = [place for place, char in enumerate(name) if char == " "]
    if len(name) <= 12 or not spaces:
        return name
    cut = min(spaces, key=lambda place: abs(place - len(name) / 2))
    return f"{name[:cut]}\n{name[cut + 1 :]}"


def _grid(count: int) -> tuple[int, int]:
    columns = {1: 1, 2: 2, 4: 2, 3: 3, 5: 3, 6: 3, 9: 3, 10: 5}.get(count, 4)
    return -(-count // columns), columns


def _draw(axes: Axes, panel: Panel, looks: Looks) -> None:
    for number, curve in enumerate(panel.curves):
        look = looks[curve.backbone, curve.variant]
        if curve.seeds > 1:
            axes.fill_between(
                panel.bounds, curve.low, curve.high, color=look.color, alpha=0.18, linewidth=0
            )
        # Markers of different nets are set apart; a curve along an edge keeps its full width.
        places = (20 + 17 * number % 60, 80)
        axes.add_line(line(look, panel.bounds, curve.mean, markevery=places, clip_on=False))
    axes.set_xlim(0, float(panel.bounds[-1]))
    axes.set_ylim(0, 100)
    axes.set_yticks(range(0, 101, 25))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))


def _looks(panels: Sequence[Panel]) -> Looks:
    return looks((curve.backbone, curve.variant) for panel in panels for curve in panel.curves)
