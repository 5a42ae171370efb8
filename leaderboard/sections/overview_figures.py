"""Figures over all data sets: how good each network is, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from leaderboard.blocks import Block, Figure, Text
from leaderboard.kept import Kept
from leaderboard.numbers.board import COST, Column, Net, Section
from leaderboard.numbers.pareto import Panel, panels
from leaderboard.numbers.standings import ranked_by
from leaderboard.numbers.summary import Key, Summary, by_seed, summarize
from leaderboard.results import Results
from leaderboard.text import capital, said, slug

# More bars than this in one figure cannot be told apart; the tables have them all.
MOST_BARS = 80
# How panels of costs begin, and what these are.
_COSTS = {
    "FLOPs": "floating-point operations of one prediction, two for each multiply-add",
    "training memory": "the memory of tensors in a training step",
}


def across_figures(
    results: Results, found: Sequence[Section], taken: set[str], kept: Kept
) -> Iterator[Block]:
    """Bars of the first column of the overview, and that column against cost."""
    ranked: dict[str, dict[Net, Summary]] = {}
    endless: list[Net] = []  # attacks that did not reach their median have no place on an axis
    shown: Column | None = None
    for section in found:
        column = ranked_by(section)
        if column is None or (shown and column.heading != shown.heading):
            continue  # another quantity does not belong on the same axis
        shown = column
        nets = _summaries(results, section, column)
        drawn = {net: one for net, one in nets.items() if math.isfinite(one.mean)}
        endless += [net for net in nets if net not in drawn]
        if drawn:
            ranked[section.dataset] = drawn
    bars = sum(map(len, ranked.values()))
    if shown is None or bars < 2:
        return
    if bars > MOST_BARS:
        yield Text(
            f"{capital(shown.title)} is not drawn: more networks ({bars}) than bars can tell apart."
        )
        return
    yield _bars(ranked, shown, endless, taken, kept)
    priced = panels(results, ranked, shown.info.better == "higher")
    if priced:
        yield _pareto(priced, shown, taken, kept)


def _summaries(results: Results, section: Section, column: Column) -> dict[Net, Summary]:
    values = by_seed(results.rows)
    found = {}
    for line in section.tables[0].lines:
        seeds = values.get(Key(*line.net, column.measure, column.metric))
        if seeds:
            found[line.net] = summarize([*seeds.values()])
    return found


def _bars(
    ranked: Mapping[str, Mapping[Net, Summary]],
    column: Column,
    endless: Sequence[Net],
    taken: set[str],
    kept: Kept,
) -> Figure:
    from leaderboard.figures.bars import result_figure

    heading, info = column.heading, column.info
    without = "; ".join(" ".join(net) for net in endless)
    # What is counted, or timed on random images, has seen no test image.
    images = "" if column.family == COST else ", on its test images"
    spread = "mean over seeds, whiskers are one sample standard deviation; none for a single seed"
    counted = column.family == COST and not _spread(ranked)
    return Figure(
        slug(_name(column), taken),
        kept.figure(
            ("result bars", heading, info, ranked), lambda: result_figure(heading, ranked, info)
        ),
        f"{heading} by data set and network",
        said(
            f"{heading} of each network on each data set{images}"
            + ("." if counted else f": {spread}."),
            "As figure 4 of the paper." if column.family == "accuracy" else "",
            f"Networks with no bar: infinite for {without}." if without else "",
        ),
    )


def _name(column: Column) -> str:
    """Of the figure's file."""
    return "accuracy" if column.family == "accuracy" else slug(column.title, set())


def _spread(ranked: Mapping[str, Mapping[Net, Summary]]) -> bool:
    """Whether there are whiskers to explain."""
    return any(one.sd for nets in ranked.values() for one in nets.values())


def _pareto(priced: Sequence[Panel], column: Column, taken: set[str], kept: Kept) -> Figure:
    from leaderboard.figures.looks import SHAPES
    from leaderboard.figures.pareto import pareto_figure

    heading, info = column.heading, column.info
    whiskers = any(point.result.sd for panel in priced for point in panel.points)
    counted = column.family == COST and not whiskers
    there = [panel.cost for panel in priced]
    costs = [cost for cost in _COSTS if any(one.startswith(cost) for one in there)]
    backbones = {point.net.backbone for panel in priced for point in panel.points}
    shape = "A shape is a backbone, its"
    if len(backbones) > SHAPES:
        shape = "A shape and its shade are a backbone, the"
    mean = "" if counted else " (mean over seeds; whiskers are one sample standard deviation)"
    return Figure(
        slug(f"{_name(column)}-against-cost", taken),
        kept.figure(
            ("pareto", heading, info, priced), lambda: pareto_figure(heading, priced, info)
        ),
        f"{heading} against {' and '.join(costs)}",
        f"{heading}{mean} against cost, on "
        f"a logarithmic axis: {', and '.join(_COSTS[cost] for cost in costs)}. {shape} "
        "filling the variant. Where there are several "
        "networks that no other beats in both, a dotted line joins them (the Pareto front of the "
        "means).",
    )
