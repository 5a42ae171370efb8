"""Networks in figures are told apart by more than colour, and as the legend says."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from leaderboard.figures.looks import png
from leaderboard.figures.pareto import pareto_figure
from leaderboard.figures.training import training_figure
from leaderboard.numbers.board import Net
from leaderboard.numbers.pareto import Panel, Priced
from leaderboard.numbers.summary import Summary
from leaderboard.results import Learned, MetricInfo

BACKBONES = tuple(f"net_{letter}" for letter in "abcdefghij")
NETS = tuple(product(BACKBONES, ("bu", "td", "td_uni", "td_rev", "own")))


def shown(line: Line2D) -> list[int]:
    """The points of a line that have a marker."""
    places = range(len(np.asarray(line.get_xdata())))
    match line.get_markevery():
        case None:
            return [*places]
        case (int(start), int(step)):
            return [*places[start::step]]
        case every:
            return [*every]


def trained(epochs: int) -> Figure:
    nets = [(backbone, variant) for backbone in BACKBONES[:5] for variant in ("bu", "td")]
    falling = tuple(float(x) for x in np.linspace(2, 1, epochs))
    return training_figure("d", {net: [Learned("d", *net, 0, falling, falling)] for net in nets})


def test_lines_of_trainings_have_the_markers_of_the_legend() -> None:
    for epochs in (2, 3, 40):
        figure = trained(epochs)
        handles = figure.legends[0].get_lines()
        for axes in figure.axes:
            for line, handle in zip(axes.lines, handles, strict=True):
                assert line.get_marker() == handle.get_marker()
                assert line.get_linestyle() == handle.get_linestyle()
                assert 1 <= len(shown(line)) <= 8
        assert len({handle.get_marker() for handle in handles}) == 5


def test_lines_that_lie_on_each_other_have_markers_at_distinct_places() -> None:
    places = [place for line in trained(100).axes[0].lines for place in shown(line)]
    assert len({*places}) == len(places) > 40


def costs() -> Figure:
    points = tuple(
        Priced(Net("d", *net), Summary(50.0 + k, None, 1), 1e6 * (k + 1))
        for k, net in enumerate(NETS)
    )
    panel = Panel("d", "FLOPs", points, points[:1])
    return pareto_figure("Accuracy", [panel], MetricInfo("Accuracy", "%", "higher"))


def mark(line: Line2D) -> tuple[object, ...]:
    """What is left of a marker without colour."""
    return line.get_marker(), line.get_fillstyle(), line.get_markerfacecolor() == "white"


def test_marks_against_cost_differ_without_colour() -> None:
    """A shape for each backbone, a filling for each variant."""
    figure = costs()
    marks = [mark(line) for line in figure.axes[0].lines if line.get_marker() != "None"]
    assert len(marks) == len({*marks}) == len(NETS)
    assert [mark(line) for line in figure.legends[0].get_lines()][: len(NETS)] == marks
    assert len(png(figure)) > 10_000


@pytest.mark.parametrize(
    ("losses", "least"),
    [((2.3, 0.3, 0.02), 3), ((1.5, 1.1, 0.6), 2), ((1.9, 1.6, 1.2), 2), ((1.5, 1.4), 2)],
)
def test_losses_are_labelled_whatever_their_range(losses: tuple[float, ...], least: int) -> None:
    found = Learned("d", "net", "bu", 0, losses, (None,) * len(losses))
    figure = training_figure("d", {("net", "bu"): [found]})
    figure.canvas.draw()
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    labelled = [
        tick.get_text()
        for tick in axes.get_yticklabels()
        if tick.get_text() and low <= tick.get_position()[1] <= high
    ]
    assert len(labelled) >= least, labelled
