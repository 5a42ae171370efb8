"""Which scale is vulnerable: accuracy with the perturbation in some of a network's scale inputs.

Figures 5 (one input) and 12 (two) of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.results import Results
from leaderboard.summary import Summary, by_seed, summarize

METRIC = "perturbed_top1["
_MOST = 3  # scales of which all combinations are shown; of more, one at a time and all


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """A network under one attack: accuracy in percent over seeds, clean and by combination of
    perturbed inputs ("high", "high+low")."""

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
        if (perturbed := {metric[len(METRIC) : -1]: summary for metric, summary in metrics.items()
                          if metric != "clean_top1"})
    ]  # fmt: skip


def combinations(found: Sequence[Vulnerability]) -> list[str]:
    """The combinations to show, single inputs first and all inputs last; which depends on a
    network's own scales, not on those of others."""
    names = dict.fromkeys(name for one in found for name in _shown(one))
    return sorted(names, key=lambda name: name.count("+"))


def _shown(one: Vulnerability) -> list[str]:
    scales = sum("+" not in name for name in one.perturbed)
    sizes = {1, scales} if scales > _MOST else {*range(1, scales + 1)}
    return [name for name in one.perturbed if name.count("+") + 1 in sizes]


def weakest(one: Vulnerability) -> list[str]:
    """The single inputs whose perturbation costs most: as shown, with a decimal, so that there may
    be several; none if there is but one input, or perturbing none costs more than another."""
    single = {name: round(s.mean, 1) for name, s in one.perturbed.items() if "+" not in name}
    least = min(single.values(), default=0.0)
    found = [name for name, value in single.items() if value == least]
    return found if len(found) < len(single) else []
