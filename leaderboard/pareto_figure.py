"""Result against cost, drawn: one panel for each data set and cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from leaderboard.looks import WIDTH, Look, Looks, blank, legend, legend_height, looks, styled
from leaderboard.overview_figures import Panel
from leaderboard.text import capital, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FRONT = "#8a8f98"
_SHAPES = {"bu": "o", "td": "D", "td_uni": "^", "td_rev": "v"}
_MARGIN = 1.35  # beside the outermost points, as a factor


def pareto_figure(title: str, panels: Sequence[Panel]) -> Figure:
    """Up is better (or worse, where less is better), left is cheaper."""
    costs = list(dict.fromkeys(panel.cost for panel in panels))
    datasets = list(dict.fromkeys(panel.dataset for panel in panels))
    look = looks((p.net.backbone, p.net.variant) for panel in panels for p in panel.points)
    place = {(panel.dataset, panel.cost): panel for panel in panels}
    with styled():
        figure = blank(WIDTH, 2.5 * len(datasets) + legend_height(look) + 0.4)
        for row, dataset in enumerate(datasets):
            for column, cost in enumerate(costs):
                if (dataset, cost) not in place:
                    continue
                axes = figure.add_subplot(len(datasets), len(costs), row * len(costs) + column + 1)
                _draw(axes, place[dataset, cost], look)
                axes.set_title(one_line(dataset, 40))
                axes.set_xlabel(capital(cost))
                if not column:
                    axes.set_ylabel(one_line(title, 40))
        handles = [_mark(one, variant) for (_, variant), one in look.items()]
        line = Line2D([], [], color=_FRONT, linestyle=":", linewidth=1.4)
        several = any(len(panel.front) > 1 for panel in panels)
        more = {"Pareto front": line} if several else {}
        legend(figure, look, handles, beside=False, more=more)
    return figure


def _draw(axes: Axes, panel: Panel, look: Looks) -> None:
    for point in panel.points:
        one = look[point.net.backbone, point.net.variant]
        axes.errorbar(
            point.cost, point.result.mean, yerr=point.result.sd or None, ecolor=one.color,
            elinewidth=1.1, capsize=2.5, fmt="none", zorder=2,
        )  # fmt: skip
        mark = _mark(one, point.net.variant)
        mark.set_data([point.cost], [point.result.mean])
        mark.set_zorder(3)
        axes.add_line(mark)
    steps = [*panel.front]
    axes.plot(
        [p.cost for p in steps], [p.result.mean for p in steps], color=_FRONT, linestyle=":",
        linewidth=1.4, zorder=1,
    )  # fmt: skip
    axes.set_xscale("log")
    low, high = (end([p.cost for p in panel.points]) for end in (min, max))
    axes.set_xlim(low / _MARGIN, high * _MARGIN)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.15)


def _mark(look: Look, variant: str) -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker=_SHAPES.get(variant, "s"), markersize=7,
        color=look.color, markeredgecolor="white", markeredgewidth=0.8,
    )  # fmt: skip
