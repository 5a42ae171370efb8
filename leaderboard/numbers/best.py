"""The most accurate network of a data set against each other one: is it better, or only luckier?

Differences are paired by seed, between backbones too (`leaderboard.claims.gaps` says why). The best
is chosen by the very numbers that it is then compared by: any pair of networks might have come to
be compared. So their variance is pooled over all pairs of the data set (a moderated t-test), those
of the best alone being few networks' in many guises, and p-values are corrected for all pairs
(Bonferroni). Of networks that are all the same, one is called better in about 5 % of the boards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from leaderboard.numbers.summary import ACCURACY, by_seed, summarize
from leaderboard.numbers.variants import compared, gaps_by_seed
from leaderboard.results import MetricInfo, Results
from leaderboard.statistics.moderated import fit_values, moderated
from leaderboard.statistics.uncertainty import of_seeds
from leaderboard.statistics.verdict import Compared, Verdict, decide

Net = tuple[str, str]  # backbone and variant


@dataclass(frozen=True, slots=True)
class Lead:
    """The best network's accuracy less another's, in the metric's unit."""

    other: Net
    compared: Compared
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Best:
    """The network of the highest mean accuracy on a data set, and its lead over each other one."""

    dataset: str
    net: Net
    info: MetricInfo
    leads: tuple[Lead, ...]


def best_networks(results: Results) -> list[Best]:
    """One for each data set with at least two backbones.

    Networks need two seeds, and two in common with the best; others are left out, and so is a data
    set where nothing of another backbone is left.
    """
    info = results.metrics.get(ACCURACY)
    if info is None or info.better != "higher":
        return []
    found: dict[str, dict[Net, Mapping[int, float]]] = {}
    for key, seeds in by_seed(results.rows).items():
        if key[3:] == ACCURACY and len(seeds) > 1:
            found.setdefault(key.dataset, {})[key.backbone, key.variant] = seeds
    made = (_best(dataset, nets, info) for dataset, nets in found.items())
    return [one for one in made if one is not None]


def _best(dataset: str, nets: Mapping[Net, Mapping[int, float]], info: MetricInfo) -> Best | None:
    best = max(nets, key=lambda net: summarize([*nets[net].values()]).mean)
    gaps = {net: gaps_by_seed(nets[best], nets[net]) for net in nets if net != best}
    gaps = {net: row for net, row in gaps.items() if len(row) > 1 and np.isfinite(row).all()}
    if len({best[0], *(net[0] for net in gaps)}) < 2:
        return None
    kept = {best: nets[best], **{net: nets[net] for net in gaps}}
    count = len(kept) * (len(kept) - 1) // 2
    pairs = [gaps_by_seed(*pair) for pair in combinations(kept.values(), 2)]
    prior = fit_values([row for row in pairs if len(row) > 1])
    # Pairs that share a network know less than as many others would; seeds take theirs off, too.
    own = [len(seeds) - 1 for seeds in kept.values()]
    pooled = sum(own) - max(own)
    leads = []
    for net, row in gaps.items():
        known = moderated(of_seeds(row), prior, len(row), pooled) if count > 1 else of_seeds(row)
        one = compared(row, known)
        one = replace(one, corrected=min(1.0, one.p_value * count))
        leads.append(Lead(net, one, decide(one, info.better)))
    return Best(dataset, best, info, tuple(leads))
