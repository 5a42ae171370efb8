"""Figures over all data sets: how good each network is, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from leaderboard.blocks import Block, Figure
from leaderboard.board import Column, Net, Section
from leaderboard.kept import Kept
from leaderboard.overview import standings
from leaderboard.results import Results
from leaderboard.summary import Key, Summary, by_seed, summarize
from leaderboard.text import slug

# More bars than this in one figure cannot be told apart; the tables have them all.
MOST_BARS = 80
_COSTS = {"flops": "FLOPs per image", "train_memory": "training memory (MiB)"}
_UNITS = {"flops": 1.0, "train_memory": 2.0**20}


@dataclass(frozen=True, slots=True)
class Priced:
    """A network's result and one of its costs, both over seeds."""

    net: Net
    result: Summary
    cost: float


@dataclass(frozen=True, slots=True)
class Panel:
    """Networks of one data set against one cost; `front` are those that none beats in both."""

    dataset: str
    cost: str
    points: tuple[Priced, ...]
    front: tuple[Priced, ...]


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
    panels = _panels(results, ranked, higher)
    if panels:
        yield _pareto(panels, heading, taken, kept)


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
    from leaderboard.bars import result_figure

    without = "; ".join(" ".join(net) for net in endless)
    return Figure(
        slug("accuracy", taken),
        kept.figure(("result bars", heading, ranked), lambda: result_figure(heading, ranked)),
        f"{heading} by data set and network",
        f"{heading} of each network on each data set, on its test images: mean over seeds, "
        "whiskers are one sample standard deviation; none for a single seed. As figure 4 of the "
        "paper." + (f" Networks with no bar: infinite for {without}." if without else ""),
    )


def _panels(
    results: Results, ranked: Mapping[str, Mapping[Net, Summary]], higher: bool
) -> list[Panel]:
    values = by_seed(results.rows)
    found = []
    for dataset, nets in ranked.items():
        for metric in _COSTS:
            points = []
            for net, result in nets.items():
                seeds = values.get(Key(*net, "efficiency", metric))
                if seeds:
                    cost = summarize([*seeds.values()]).mean / _UNITS[metric]
                    points.append(Priced(net, result, cost))
            if len(points) > 1:
                found.append(Panel(dataset, _COSTS[metric], tuple(points), front(points, higher)))
    return found


def front(points: Sequence[Priced], higher: bool = True) -> tuple[Priced, ...]:
    """The Pareto front: points that no other beats in cost without a worse mean, by rising cost."""
    sign = 1.0 if higher else -1.0
    found: list[Priced] = []
    for point in sorted(points, key=lambda one: (one.cost, -sign * one.result.mean)):
        if not found or sign * point.result.mean > sign * found[-1].result.mean:
            found.append(point)
    return tuple(found)


def _pareto(panels: Sequence[Panel], heading: str, taken: set[str], kept: Kept) -> Figure:
    from leaderboard.pareto_figure import pareto_figure

    return Figure(
        slug("accuracy-against-cost", taken),
        kept.figure(("pareto", heading, panels), lambda: pareto_figure(heading, panels)),
        f"{heading} against FLOPs and training memory",
        f"{heading} (mean over seeds; whiskers are one sample standard deviation) against cost, on "
        "a logarithmic axis: floating-point operations of one prediction, two for each "
        "multiply-add, and the memory of tensors in a training step. A shape is a backbone, its "
        "filling the variant. Where there are several "
        "networks that no other beats in both, a dotted line joins them (the Pareto front of the "
        "means).",
    )
