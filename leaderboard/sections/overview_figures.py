"""Figures over all data sets: how good each network is, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from leaderboard.blocks import Block, Figure
from leaderboard.kept import Kept
from leaderboard.numbers.board import Column, Net, Section
from leaderboard.numbers.pareto import Panel, panels
from leaderboard.numbers.summary import Key, Summary, by_seed, summarize
from leaderboard.results import Results
from leaderboard.sections.overview import standings
from leaderboard.text import slug

# More bars than this in one figure cannot be told apart; the tables have them all.
MOST_BARS = 80


def across_figures(
    results: Results, found: Sequence[Section], taken: set[str], kept: Kept
) -> Iterator[Block]:
    """Bars of the first column of the overview, and that column against cost."""
    ranked: dict[str, dict[Net, Summary]] = {}
    endless: list[Net] = []  # attacks that did not reach their median have no place on an axis
    heading, higher = "", True
    for section in found:
        column, _ = standings(results, section)
        if column is None or (heading and column.heading != heading):
            continue  # another quantity does not belong on the same axis
        heading, higher = column.heading, column.info.better == "higher"
        nets = _summaries(results, section, column)
        drawn = {net: one for net, one in nets.items() if math.isfinite(one.mean)}
        endless += [net for net in nets if net not in drawn]
        if drawn:
            ranked[section.dataset] = drawn
    bars = sum(map(len, ranked.values()))
    if not 1 < bars <= MOST_BARS:
        return
    yield _bars(ranked, heading, endless, taken, kept)
    priced = panels(results, ranked, higher)
    if priced:
        yield _pareto(priced, heading, taken, kept)


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
    heading: str,
    endless: Sequence[Net],
    taken: set[str],
    kept: Kept,
) -> Figure:
    from leaderboard.figures.bars import result_figure

    without = "; ".join(" ".join(net) for net in endless)
    return Figure(
        slug("accuracy", taken),
        kept.figure(("result bars", heading, ranked), lambda: result_figure(heading, ranked)),
        f"{heading} by data set and network",
        f"{heading} of each network on each data set, on its test images: mean over seeds, "
        "whiskers are one sample standard deviation; none for a single seed. As figure 4 of the "
        "paper." + (f" Networks with no bar: infinite for {without}." if without else ""),
    )


def _pareto(priced: Sequence[Panel], heading: str, taken: set[str], kept: Kept) -> Figure:
    from leaderboard.figures.pareto import pareto_figure

    return Figure(
        slug("accuracy-against-cost", taken),
        kept.figure(("pareto", heading, priced), lambda: pareto_figure(heading, priced)),
        f"{heading} against FLOPs and training memory",
        f"{heading} (mean over seeds; whiskers are one sample standard deviation) against cost, on "
        "a logarithmic axis: floating-point operations of one prediction, two for each "
        "multiply-add, and the memory of tensors in a training step. A shape is a backbone, its "
        "filling the variant. Where there are several "
        "networks that no other beats in both, a dotted line joins them (the Pareto front of the "
        "means).",
    )
