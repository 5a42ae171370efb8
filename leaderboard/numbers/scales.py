"""Which scale is vulnerable: accuracy with the perturbation in some of a network's scale inputs.

Figures 5 (one input) and 12 (two) of the paper.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leaderboard.numbers.summary import Summary, by_seed, summarize
from leaderboard.results import Results
from leaderboard.rounding import rounded

METRIC = "perturbed_top1["
ALL = "all"
_MOST = 3  # scales of which all combinations are shown; of more, one at a time and all


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """A network under one attack: accuracy in percent over seeds, clean and by combination of
    perturbed inputs ("high", "high+low", or "all" of several)."""

    backbone: str
    variant: str
    attack: str
    clean: Summary | None
    perturbed: dict[str, Summary]


def vulnerabilities(results: Results, dataset: str) -> list[Vulnerability]:
    """One for each network and attack of a data set that were measured so."""
    found: dict[tuple[str, str, str], dict[str, Summary]] = {}
    for key, seeds in by_seed(results.rows).items():
        family, _, attack = key.measure.partition("/")
        wanted = key.metric == "clean_top1" or key.metric.startswith(METRIC)
        if key.dataset == dataset and family == "robustness" and wanted:
            place = found.setdefault((key.backbone, key.variant, attack), {})
            place[key.metric] = summarize([*seeds.values()])
    return [
        Vulnerability(*name, metrics.get("clean_top1"), perturbed)
        for name, metrics in found.items()
        if (perturbed := _shown(metrics))
    ]


def _shown(metrics: Mapping[str, Summary]) -> dict[str, Summary]:
    """By combination: a network's own number of scales decides which are shown."""
    of = {key[len(METRIC) : -1]: one for key, one in metrics.items() if key.startswith(METRIC)}
    scales = sum("+" not in name for name in of)
    found = {}
    for name, summary in of.items():
        size = name.count("+") + 1
        if size == scales > 1:
            found[ALL] = summary
        elif size == 1 or scales <= _MOST:
            found[name] = summary
    return found


def combinations(found: Sequence[Vulnerability]) -> list[str]:
    """The combinations to show, single inputs first and all inputs last; among as many inputs by
    the scales' numbers where they have some ("scale2" before "scale16"), else as they come."""
    names = dict.fromkeys(name for one in found for name in one.perturbed)
    return sorted(names, key=lambda name: (name == ALL, name.count("+"), _numbers(name)))


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", name)]


def weakest(one: Vulnerability) -> list[str]:
    """The single inputs whose perturbation costs most: as shown, with a decimal, so that there may
    be several; none if there is but one input, or perturbing none costs more than another."""
    single = {
        name: rounded(summary.mean, 1)
        for name, summary in one.perturbed.items()
        if "+" not in name and name != ALL
    }
    least = min(single.values(), default=0.0)
    found = [name for name, value in single.items() if value == least]
    return found if len(found) < len(single) else []
