"""Results against cost, network by network, and which networks none beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leaderboard.numbers.board import Net
from leaderboard.numbers.summary import Key, Summary, by_seed, summarize
from leaderboard.results import Results

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


def panels(
    results: Results, ranked: Mapping[str, Mapping[Net, Summary]], higher: bool
) -> list[Panel]:
    """One for each data set and cost that at least two networks have, of results by data set and
    network; `higher` says whether those are better."""
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
