"""Deletion and insertion curves: a row of two panels for each comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from leaderboard.figures.looks import WIDTH, Look, blank, legend, legend_height, line, looks, styled
from leaderboard.numbers.faithfulness import Comparison, Curve
from leaderboard.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLES = {"deletion": "Deletion: lower is better", "insertion": "Insertion: higher is better"}
_UNDER = {"deletion": "Pixels removed (%)", "insertion": "Pixels inserted (%)"}


def curve_figure(title: str, found: Sequence[Comparison]) -> Figure:
    """The probability of the class against the share of pixels gone or come."""
    look = looks(("", network.variant) for one in found for network in one.networks)
    with styled():
        figure = blank(WIDTH, 2.4 * len(found) + legend_height(look) + 0.5)
        for row, one in enumerate(found):
            for column, (kind, above) in enumerate(_TITLES.items()):
                axes = figure.add_subplot(len(found), 2, 2 * row + column + 1)
                for network in one.networks:
                    curve: Curve = getattr(network, kind)
                    _draw(axes, one, curve, look["", network.variant])
                axes.set_xlim(0, 100)
                axes.set_ylim(bottom=0)
                if not row:
                    axes.set_title(above)
                if row == len(found) - 1:
                    axes.set_xlabel(_UNDER[kind])
                if not column:
                    names = [one_line(part, 24) for part in (one.backbone, one.item) if part]
                    label = "\n".join([*names, "Probability (% of clean)"])
                    axes.set_ylabel(label, linespacing=1.6)  # underscores reach far down
        figure.suptitle(one_line(title, 80), fontsize=11, fontweight="bold")
        legend(figure, look, [line(own, [], []) for own in look.values()], beside=False)
    return figure


def _draw(axes: Axes, one: Comparison, curve: Curve, look: Look) -> None:
    low, high = curve.mean - curve.sd, curve.mean + curve.sd
    axes.fill_between(one.shares, low, high, color=look.color, alpha=0.18, linewidth=0)
    axes.add_line(line(look, one.shares, curve.mean, markevery=[]))
    axes.autoscale_view()
