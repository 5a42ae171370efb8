"""Figures of localization: precision and recall by network, and over all thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from leaderboard.figures.looks import (
    WIDTH,
    Look,
    Looks,
    blank,
    legend,
    legend_height,
    line,
    looks,
    styled,
)
from leaderboard.numbers.localization import Comparison, Floats, Localizer
from leaderboard.numbers.pairing import Estimate
from leaderboard.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = "#16191f"
_BARS = {"precision": "Precision (%)", "recall": "Recall (%)"}
_GAP = 0.5  # between the bars of two backbones, in bars


def bar_figure(title: str, found: Sequence[Comparison]) -> Figure:
    """Precision and recall, a bar for each network: figure 9 of the paper."""
    look = _looks(found)
    networks = [network for one in found for network in one.networks]
    places, names = _places(found)
    with styled():
        figure = blank(WIDTH, 0.26 * (places[-1] + 1) + 1.0)
        for column, (name, label) in enumerate(_BARS.items()):
            axes = figure.add_subplot(1, len(_BARS), column + 1)
            for place, network in zip(places, networks, strict=True):
                if name in network.figures:
                    _bar(axes, place, network.figures[name], look["", network.variant])
            axes.set_yticks(places, names)
            axes.tick_params(axis="y", length=0, labelleft=not column)
            axes.set_ylim(places[-1] + 0.6, -0.6)
            axes.set_xlim(0, 100)
            axes.set_xlabel(label)
            axes.grid(visible=False, axis="y")
        figure.suptitle(one_line(title, 80), fontsize=11, fontweight="bold")
    return figure


def sweep_figure(title: str, found: Sequence[Comparison]) -> Figure:
    """Precision and recall at every threshold: a row of panels for each comparison."""
    look = _looks(found)
    with styled():
        figure = blank(WIDTH, 2.3 * len(found) + legend_height(look) + 0.5)
        for row, one in enumerate(found):
            panels = [figure.add_subplot(len(found), 3, 3 * row + place) for place in (1, 2, 3)]
            for network in one.networks:
                _curves(panels, one, network, look["", network.variant])
            for axes in panels[:2]:
                axes.axvline(one.threshold, color=_INK, linewidth=0.9, linestyle=(0, (1, 2)))
            _frame(panels, one, first=row == 0, last=row == len(found) - 1)
        figure.suptitle(one_line(title, 80), fontsize=11, fontweight="bold")
        handles = [line(one, [], []) for one in look.values()]
        legend(figure, look, handles, beside=False, more={_said(found): _dot("#5b6270")})
    return figure


def _looks(found: Sequence[Comparison]) -> Looks:
    """By variant: the backbone is written beside its bars and panels."""
    return looks(("", network.variant) for one in found for network in one.networks)


def _places(found: Sequence[Comparison]) -> tuple[list[float], list[str]]:
    """Where each network's bar lies, from above, and its name."""
    places: list[float] = []
    names: list[str] = []
    for number, one in enumerate(found):
        for network in one.networks:
            places.append(len(places) + number * _GAP)
            names.append(_joined(one.backbone, network.variant, one.item))
    return places, names


def _joined(*parts: str) -> str:
    return " · ".join(one_line(part, 24) for part in parts if part)


def _bar(axes: Axes, place: float, estimate: Estimate, look: Look) -> None:
    axes.barh(
        place,
        estimate.summary.mean,
        height=0.8,
        xerr=estimate.summary.sd or None,
        error_kw={"elinewidth": 1.1, "capsize": 2.5, "ecolor": _INK},
        facecolor=look.color,
        hatch=look.hatch,
        edgecolor="white",
        linewidth=0.0,
    )


def _curves(panels: Sequence[Axes], one: Comparison, network: Localizer, look: Look) -> None:
    """Precision and recall against the threshold, then against each other."""
    sweep, at = network.sweep, one.at
    bands = (sweep.precision, sweep.precision_sd), (sweep.recall, sweep.recall_sd)
    for axes, (mean, sd) in zip(panels[:2], bands, strict=True):
        _band(axes, one.thresholds, mean, sd, look)
        axes.plot(one.threshold, mean[at], **_point(look))
    _band(panels[2], sweep.recall, sweep.precision, sweep.precision_sd, look)
    panels[2].plot(sweep.recall[at], sweep.precision[at], **_point(look))


def _band(axes: Axes, x: Floats, mean: Floats, sd: Floats, look: Look) -> None:
    axes.fill_between(x, mean - sd, mean + sd, color=look.color, alpha=0.18, linewidth=0)
    axes.add_line(line(look, x, mean, markevery=[]))


def _frame(panels: Sequence[Axes], one: Comparison, *, first: bool, last: bool) -> None:
    """Limits and names."""
    titles = "Precision (%)", "Recall (%)", "Precision (%) against recall"
    under = "Threshold", "Threshold", "Recall (%)"
    for axes, title, x_label in zip(panels, titles, under, strict=True):
        axes.set_ylim(0, 100)
        axes.set_yticks(range(0, 101, 25))
        axes.set_xlim(*((0, 100) if x_label == "Recall (%)" else one.thresholds[[0, -1]]))
        if first:
            axes.set_title(title)
        if last:
            axes.set_xlabel(x_label)
    panels[0].set_ylabel(_joined(one.backbone, one.item), color=_INK, fontsize=9.5)
    panels[1].tick_params(labelleft=False)


def _point(look: Look) -> dict[str, Any]:
    return {
        "marker": "o",
        "markersize": 6.5,
        "markerfacecolor": look.color,
        "markeredgecolor": "white",
        "zorder": 3,
        "clip_on": False,
    }


def _dot(color: str) -> Line2D:
    return Line2D([], [], color=color, marker="o", markersize=6.5, markeredgecolor="white", lw=0)


def _said(found: Sequence[Comparison]) -> str:
    thresholds = {one.threshold for one in found}
    return f"threshold {thresholds.pop():g}" if len(thresholds) == 1 else "reported threshold"
