"""Robustness to common corruptions, against the bottom-up network.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (ICLR 2019), section 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leaderboard.numbers.summary import BASELINE, Summary, by_seed, summarize
from leaderboard.results import Results

_MEASURE = "corruptions"
_METRIC = "error["
_CLEAN = "clean_error"
Net = tuple[str, str]  # backbone, variant
Errors = dict[str, dict[str, float]]  # percent, by corruption, then severity


@dataclass(frozen=True, slots=True)
class Corrupted:
    """A network over its seeds.

    `error` is the mean error in percent over corruptions and severities, `errors` that of each
    corruption over its severities, `mce` the mean corruption error in percent of the bottom-up
    network's (None where that network, or one of its errors, is missing or zero), `clean` the
    error on the same images as they are, where that was measured.
    """

    backbone: str
    variant: str
    error: Summary
    errors: Mapping[str, Summary]
    mce: Summary | None
    clean: Summary | None = None


def corrupted(results: Results, dataset: str) -> list[Corrupted]:
    """Every network of a data set that was measured on corrupted images."""
    nets = _errors(results, dataset)
    clean = {
        key[1:3]: summarize([*seeds.values()])
        for key, seeds in by_seed(results.rows).items()
        if (key.dataset, key.measure, key.metric) == (dataset, _MEASURE, _CLEAN)
    }
    return [
        Corrupted(
            backbone,
            variant,
            summarize([_mean(_means(errors)) for errors in seeds.values()]),
            _over_seeds(seeds),
            _summary(_mce(seeds, nets.get((backbone, BASELINE), {}))),
            clean.get((backbone, variant)),
        )
        for (backbone, variant), seeds in nets.items()
    ]


def mce_by_seed(results: Results, dataset: str) -> dict[Net, dict[int, float]]:
    """The mean corruption error in percent, of networks that have one."""
    nets = _errors(results, dataset)
    found = {net: _mce(seeds, nets.get((net[0], BASELINE), {})) for net, seeds in nets.items()}
    return {net: seeds for net, seeds in found.items() if seeds}


def _errors(results: Results, dataset: str) -> dict[Net, dict[int, Errors]]:
    nets: dict[Net, dict[int, Errors]] = {}
    for key, seeds in by_seed(results.rows).items():
        corruption, slash, severity = key.metric[len(_METRIC) : -1].rpartition("/")
        if key.dataset == dataset and key.measure == _MEASURE and slash:
            if not key.metric.startswith(_METRIC):
                continue
            net = nets.setdefault((key.backbone, key.variant), {})
            for seed, value in seeds.items():
                net.setdefault(seed, {}).setdefault(corruption, {})[severity] = value
    return nets


def corruption_errors(errors: Errors, baseline: Errors) -> dict[str, float] | None:
    """CE of each corruption in percent: the sum of errors over severities, relative to that of the
    baseline. None where they were not measured on the same ones, or the baseline makes no error."""
    found = {}
    for corruption, mine in errors.items():
        other = baseline.get(corruption, {})
        if mine.keys() != other.keys() or not sum(other.values()):
            return None
        found[corruption] = 100.0 * sum(mine.values()) / sum(other.values())
    return found if errors.keys() == baseline.keys() else None


def _mce(seeds: Mapping[int, Errors], baseline: Mapping[int, Errors]) -> dict[int, float]:
    """Of each seed that both have, the mean of the corruption errors; nothing where one of them
    has none."""
    ratios = {
        seed: corruption_errors(errors, baseline[seed])
        for seed, errors in seeds.items()
        if seed in baseline
    }
    found = {seed: _mean(ratio) for seed, ratio in ratios.items() if ratio}
    return found if len(found) == len(ratios) else {}


def _summary(seeds: Mapping[int, float]) -> Summary | None:
    return summarize([*seeds.values()]) if seeds else None


def _over_seeds(seeds: Mapping[int, Errors]) -> dict[str, Summary]:
    per_seed = [_means(errors) for errors in seeds.values()]
    names = dict.fromkeys(name for means in per_seed for name in means)
    return {name: summarize([m[name] for m in per_seed if name in m]) for name in names}


def _means(errors: Errors) -> dict[str, float]:
    return {name: _mean(severities) for name, severities in errors.items()}


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)
