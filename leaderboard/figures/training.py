"""Training curves, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from leaderboard.figures.looks import WIDTH, blank, legend, legend_height, line, looks, styled
from leaderboard.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from leaderboard.figures.looks import Looks, NetName
    from leaderboard.numbers.training import Nets

_MARKED = 6  # epochs of a line that have a marker, at most


def training_figure(title: str, nets: Nets) -> Figure:
    """Loss on the left, validation accuracy on the right, where something was held out."""
    look = looks(nets)
    held_out = any(v is not None for seeds in nets.values() for s in seeds for v in s.validation)
    with styled():
        figure = blank(WIDTH, 2.8 + legend_height(look) + 0.4)
        panels = 2 if held_out else 1
        loss = figure.add_subplot(1, panels, 1)
        loss.set_yscale("log")
        loss.set_ylabel("Training loss")
        for net, seeds in nets.items():
            _draw(loss, [one.losses for one in seeds], look, net)
        if held_out:
            top1 = figure.add_subplot(1, panels, 2)
            top1.set_ylabel("Validation accuracy (%)")
            for net, seeds in nets.items():
                _draw(top1, [one.validation for one in seeds], look, net)
        for axes in figure.axes:
            axes.set_xlabel("Epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.autoscale_view()
        _label(loss)
        figure.suptitle(one_line(title, 80), fontsize=11, fontweight="bold")
        legend(figure, look, [line(one, [], []) for one in look.values()], beside=False)
    return figure


def _label(axes: Axes) -> None:
    """Label 1, 2, 5 times powers of ten; of a range that has only one of these, make it linear."""
    low, high = axes.get_ylim()
    locator = LogLocator(subs=(1, 2, 5))
    if sum(low <= value <= high for value in locator.tick_values(low, high)) > 1:
        axes.yaxis.set_major_locator(locator)
    else:
        axes.set_yscale("linear")
    # Plain numbers: the usual powers of ten are formulas, which names of strangers forbid.
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _draw(axes: Axes, seeds: Sequence[Sequence[float | None]], looks: Looks, net: NetName) -> None:
    """Seeds may have stopped at different epochs; each point is of those that got there."""
    longest = max(map(len, seeds))
    stack = np.full((len(seeds), longest), np.nan)
    for row, values in enumerate(seeds):
        stack[row, : len(values)] = [np.nan if v is None else v for v in values]
    known = ~np.isnan(stack).all(0)
    if not known.any():
        return
    epochs = np.arange(1, longest + 1)[known]
    stack = stack[:, known]
    if len(seeds) > 1:
        low, high = np.nanmin(stack, 0), np.nanmax(stack, 0)
        axes.fill_between(epochs, low, high, color=looks[net].color, alpha=0.18, linewidth=0)
    # Markers of different nets are set apart where there are epochs enough.
    step = -(-len(epochs) // _MARKED)
    start = [*looks].index(net) * step // len(looks)
    axes.add_line(line(looks[net], epochs, np.nanmean(stack, 0), markevery=(start, step)))
