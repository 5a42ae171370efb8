"""Result against cost, drawn: one panel for each data set and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Literal

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from leaderboard.figures.looks import (
    WIDTH,
    Look,
    Looks,
    NetName,
    blank,
    legend,
    legend_height,
    looks,
    styled,
)
from leaderboard.numbers.pareto import Panel
from leaderboard.quantity import in_prefix, unit
from leaderboard.results import MetricInfo
from leaderboard.text import capital, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Fill = Literal["full", "none", "left", "right", "bottom", "top"]
Mark = tuple[str, Fill]
_FRONT = "#8a8f98"
# Told apart in grey too: a backbone has the marker of its lines elsewhere, a variant its filling.
_ALONE, _UNMARKED = "o", "v"  # where there is one backbone; of several, that whose lines have none
_FILLINGS: dict[str, Fill] = {"bu": "full", "td": "none", "td_uni": "bottom", "td_rev": "top"}
_OTHERS: tuple[Fill, ...] = ("left", "right")
_MARGIN = 1.35  # beside the outermost points, as a factor


def pareto_figure(title: str, panels: Sequence[Panel], info: MetricInfo) -> Figure:
    """Up is better (or worse, where less is better), left is cheaper."""
    costs = list(dict.fromkeys(panel.cost for panel in panels))
    datasets = list(dict.fromkeys(panel.dataset for panel in panels))
    look = looks((p.net.backbone, p.net.variant) for panel in panels for p in panel.points)
    marks = _marks(look)
    most = max(point.result.mean for panel in panels for point in panel.points)
    factor, prefix = unit(most, info)
    place = {(panel.dataset, panel.cost): panel for panel in panels}
    with styled():
        figure = blank(WIDTH, 2.5 * len(datasets) + legend_height(look) + 0.4)
        for row, dataset in enumerate(datasets):
            for column, cost in enumerate(costs):
                if (dataset, cost) not in place:
                    continue
                axes = figure.add_subplot(len(datasets), len(costs), row * len(costs) + column + 1)
                _draw(axes, place[dataset, cost], look, marks, factor)
                axes.set_title(one_line(dataset, 40))
                axes.set_xlabel(capital(cost))
                if not column:
                    axes.set_ylabel(one_line(in_prefix(title, prefix), 40))
        handles = [_mark(one, *marks[net]) for net, one in look.items()]
        line = Line2D([], [], color=_FRONT, linestyle=":", linewidth=1.4)
        several = any(len(panel.front) > 1 for panel in panels)
        more = {"Pareto front": line} if several else {}
        legend(figure, look, handles, beside=False, more=more)
    return figure


def _draw(
    axes: Axes, panel: Panel, look: Looks, marks: Mapping[NetName, Mark], factor: float
) -> None:
    for point in panel.points:
        net = point.net.backbone, point.net.variant
        one = look[net]
        result, sd = point.result.mean / factor, point.result.sd
        axes.errorbar(
            point.cost, result, yerr=sd / factor if sd else None, ecolor=one.color,
            elinewidth=1.1, capsize=2.5, fmt="none", zorder=2,
        )  # fmt: skip
        mark = _mark(one, *marks[net])
        mark.set_data([point.cost], [result])
        mark.set_zorder(3)
        axes.add_line(mark)
    steps = [(point.cost, point.result.mean / factor) for point in panel.front]
    axes.plot(
        [cost for cost, _ in steps], [result for _, result in steps], color=_FRONT,
        linestyle=":", linewidth=1.4, zorder=1,
    )  # fmt: skip
    axes.set_xscale("log")
    low, high = (end([p.cost for p in panel.points]) for end in (min, max))
    axes.set_xlim(low / _MARGIN, high * _MARGIN)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(_cost))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.15)


def _cost(value: float, _: object = None) -> str:
    """A tick of the axis of costs: 5 M, 200 k; 0.5, for thousandths of a MiB would be 500 m."""
    return EngFormatter(sep=" ")(value) if value >= 1 else f"{value:g}"


def _marks(look: Looks) -> dict[NetName, Mark]:
    """Shape and filling of each network; variants of plugins are filled by halves."""
    unmarked = _UNMARKED if len({backbone for backbone, _ in look}) > 1 else _ALONE
    strangers = dict.fromkeys(variant for _, variant in look if variant not in _FILLINGS)
    fills = _FILLINGS | dict(zip(strangers, cycle(_OTHERS), strict=False))
    return {net: (one.marker or unmarked, fills[net[1]]) for net, one in look.items()}


def _mark(look: Look, shape: str, fill: Fill) -> Line2D:
    # Hollow, yet white within: whiskers and the front end at the marker.
    hollow = fill == "none"
    return Line2D(
        [], [], linestyle="none", marker=shape, color=look.color,
        fillstyle="full" if hollow else fill, markerfacecoloralt="white",
        markerfacecolor="white" if hollow else look.color,
        markeredgecolor="white" if fill == "full" else look.color,
        markeredgewidth=0.8 if fill == "full" else 1.3, markersize=9 if fill == "full" else 7.5,
    )  # fmt: skip
