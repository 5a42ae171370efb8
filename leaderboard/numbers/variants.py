"""Every variant against the bottom-up network of the same backbone: how far apart, and how sure.

Seeds are paired, of robustness images too. Variances are pooled over the comparisons of a metric
(a moderated t-test), p-values corrected over the whole board.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from leaderboard.numbers.aligned import align, areas, part
from leaderboard.numbers.curves import by_attack, by_net, limit
from leaderboard.numbers.summary import AREA, BASELINE, Key, by_seed
from leaderboard.results import Better, Results
from leaderboard.statistics.moderated import among
from leaderboard.statistics.multiplicity import corrected
from leaderboard.statistics.uncertainty import Uncertain, image_part
from leaderboard.statistics.verdict import Compared, Verdict, decide

Floats = NDArray[np.float64]

_OF_HEATMAPS = ("precision", "recall", "iou", "pxap", "deletion_auc", "insertion_auc")


@dataclass(frozen=True, slots=True)
class Against:
    """A variant's number less the baseline's, in the metric's unit."""

    key: Key
    compared: Compared
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Draft:
    """Differences by seed, and the part of the variance of their mean that images have."""

    key: Key
    better: Better
    gaps: Floats
    images: float = 0.0


def against_baseline(results: Results, baseline: str = BASELINE) -> list[Against]:
    """Compare all headline metrics that have a direction, and the area under each attack's curve of
    accuracy (in points, up to the limit of its figure).

    Two seeds in common are needed; comparisons with fewer, or with infinite values, are left out.
    So are numbers of heatmaps that the page compares on the images that all variants classify
    correctly: two answers to one question, of which one is the better.
    """
    drafts = [*_numbers(results, baseline), *_areas(results, baseline)]
    found = [_compared(draft, drafts) for draft in drafts]
    adjusted = corrected([one.p_value for one in found])
    made = []
    for draft, one, p_value in zip(drafts, found, adjusted, strict=True):
        done = replace(one, corrected=p_value)
        made.append(Against(draft.key, done, decide(done, draft.better)))
    return made


def _numbers(results: Results, baseline: str) -> Iterator[_Draft]:
    table = by_seed(results.rows)
    elsewhere = {
        *(("localization", one.dataset) for one in results.localized),
        *(("faithfulness", one.dataset) for one in results.removed),
    }
    for key, seeds in table.items():
        info = results.metrics.get((key.measure, key.metric))
        base = table.get(key._replace(variant=baseline))
        family = key.measure.partition("/")[0]
        if (family, key.dataset) in elsewhere and key.metric in _OF_HEATMAPS:
            continue
        if info is None or not info.headline or info.better == "neither" or base is None:
            continue
        gaps = gaps_by_seed(seeds, base)
        if key.variant != baseline and len(gaps) > 1 and np.isfinite(gaps).all():
            yield _Draft(key, info.better, gaps)


def gaps_by_seed(mine: Mapping[int, float], base: Mapping[int, float]) -> Floats:
    """One network's values less another's, for each seed that both have, in rising order."""
    seeds = sorted(set(mine) & set(base))
    with np.errstate(invalid="ignore"):  # of two infinities, which is left out
        return np.array([mine[seed] for seed in seeds], dtype=np.float64) - np.array(
            [base[seed] for seed in seeds], dtype=np.float64
        )


def _areas(results: Results, baseline: str) -> Iterator[_Draft]:
    for dataset in dict.fromkeys(sample.dataset for sample in results.samples):
        for attack, some in by_attack(results.samples, dataset).items():
            end = limit(some, results.attacks.get(attack))
            nets = {net: align(seeds) for net, seeds in by_net(some).items()}
            for (backbone, variant), mine in nets.items():
                base = nets.get((backbone, baseline))
                if variant == baseline or base is None:
                    continue
                seeds = sorted(set(mine.seeds) & set(base.seeds))
                images = sorted(set(mine.images) & set(base.images))
                if len(seeds) < 2 or not images:
                    continue
                one, other = (areas(part(side, seeds, images), end) for side in (mine, base))
                table = one - other
                key = Key(dataset, backbone, variant, f"robustness/{attack}", AREA)
                yield _Draft(key, "higher", table.mean(1), image_part(table))


def _compared(draft: _Draft, drafts: list[_Draft]) -> Compared:
    alike = [other.gaps for other in drafts if other.key[3:] == draft.key[3:]]
    # What efficiency counts is the same for each seed by its nature.
    exact = draft.key.measure.partition("/")[0] == "efficiency"
    return compared(draft.gaps, among(draft.gaps, alike, draft.images), exact)


def compared(gaps: Floats, found: Uncertain, exact: bool = False) -> Compared:
    """What the differences of two seeds or more come to, given what is known of their mean, with a
    p-value that is not corrected yet.

    Differences that are equal by chance, be they 0, have no spread to go by: unless they are
    `exact`, the interval is without ends then, and p is 1.
    """
    sd = float(gaps.std(ddof=1))
    if not (found.variance or exact):
        return Compared(found.mean, -math.inf, math.inf, None, 1.0, 1.0, len(gaps))
    p_value = found.p_value()
    effect = found.mean / sd if sd else None
    return Compared(found.mean, *found.interval(), effect, p_value, p_value, len(gaps))
