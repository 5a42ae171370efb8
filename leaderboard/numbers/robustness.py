"""Robustness in numbers: what a curve comes to, with confidence intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leaderboard.kept import Kept, fingerprint
from leaderboard.numbers.aligned import Aligned, align, areas, part
from leaderboard.numbers.bootstrap import (
    REPLICATES,
    Interval,
    Resamples,
    intervals,
    lower_medians,
    mean_interval,
    mean_intervals,
)
from leaderboard.numbers.curves import REACHED, by_attack, by_net, limit
from leaderboard.numbers.resamples import Marks
from leaderboard.numbers.summary import BASELINE
from leaderboard.results import AttackInfo, Results, Sample

Floats = NDArray[np.float64]
NetName = tuple[str, str]

SHARES = (0.25, 0.5, 1.0)  # of the limit: budgets at which accuracy is told
# Where more networks than this are under attack (each attack counts), intervals have fewer
# replicates, so that a page takes seconds. Their ends are then known to about 3 % of their width;
# to half of that with all replicates.
MANY, FEWER = 300, 500
_TOGETHER = 2**16  # replicates of seeds that are worked on at once: what fits into a cache


@dataclass(frozen=True, slots=True)
class Estimate:
    """One network under one attack; accuracies are percent of all attacked images.

    `clean` is the accuracy at L2 0, `area` the mean accuracy over L2 from 0 to the limit (the area
    under the curve of accuracy, as a share of what a perfect network has), `against` its difference
    to the bottom-up network of the same backbone, seeds and images paired (None for that one
    itself, or without one), `median` the mean over seeds of the lower median L2 of the images
    classified correctly, `at` the accuracies at `SHARES` of the limit. `endless` of the seeds have
    an infinite median: where not all of them do, there is no mean of these, nor an interval.
    """

    backbone: str
    variant: str
    seeds: int
    images: int
    clean: Interval
    area: Interval
    against: Interval | None
    median: Interval
    at: tuple[Interval, ...]
    endless: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """One attack on one data set: all networks up to the same L2."""

    attack: str
    limit: float
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class Attacks:
    """All attacks on a data set: a fingerprint of each one's samples, what they come to, and the
    replicates that their intervals are of."""

    prints: Mapping[str, str]
    summaries: Sequence[Summary]
    replicates: int = REPLICATES


def attacks_of(results: Results, dataset: str, kept: Kept) -> Attacks:
    """Sum up what `results` have of the attacks on `dataset`; what is kept is read."""
    found = by_attack(results.samples, dataset)
    prints = {attack: fingerprint(some) for attack, some in found.items()}
    replicates = replicates_for(sum(len(by_net(some)) for some in found.values()))
    made = summaries(results.samples, dataset, results.attacks, kept, prints, replicates)
    return Attacks(prints, made, replicates)


def replicates_for(estimates: int) -> int:
    """How many replicates the intervals of so many networks under attack are made of."""
    return REPLICATES if estimates <= MANY else FEWER


def summaries(
    samples: Iterable[Sample],
    dataset: str,
    infos: Mapping[str, AttackInfo],
    kept: Kept | None = None,
    prints: Mapping[str, str] | None = None,
    replicates: int = REPLICATES,
) -> list[Summary]:
    """A summary of each attack on `dataset`, in the order of the samples; those that are kept under
    the attack's fingerprint are read."""
    draw = cache(lambda images: Resamples(images, replicates))
    found = []
    for attack, some in by_attack(samples, dataset).items():
        info = infos.get(attack)
        make = partial(_summary, attack, some, info, draw)
        if kept is None or prints is None:
            found.append(make())
        else:
            depends = ("summary", attack, prints[attack], info, BASELINE, SHARES, replicates)
            found.append(_kept_summary(kept, depends, make))
    return found


def _kept_summary(kept: Kept, depends: Iterable[object], make: Callable[[], Summary]) -> Summary:
    """The summary that is kept, or the one that is made, which is kept then."""
    text = kept.text(depends, lambda: json.dumps(_parts(make())))
    return _summary_from(*json.loads(text))


def _parts(summary: Summary) -> tuple[object, ...]:
    """What `_summary_from` takes; several times as fast as `dataclasses.astuple`."""
    lines = [
        (
            one.backbone,
            one.variant,
            one.seeds,
            one.images,
            one.endless,
            *(
                None if ends is None else (ends.value, ends.low, ends.high)
                for ends in (one.clean, one.area, one.against, one.median, *one.at)
            ),
        )
        for one in summary.estimates
    ]
    return summary.attack, summary.limit, lines


def _summary_from(attack: str, end: float, estimates: Sequence[Sequence[Any]]) -> Summary:
    return Summary(attack, end, tuple(_estimate(*read) for read in estimates))


def _estimate(
    backbone: str, variant: str, seeds: int, images: int, endless: int, *read: Sequence[float]
) -> Estimate:
    clean, area, against, median, *at = read
    return Estimate(
        backbone,
        variant,
        seeds,
        images,
        Interval(*clean),
        Interval(*area),
        Interval(*against) if against else None,
        Interval(*median),
        tuple(Interval(*ends) for ends in at),
        endless,
    )


def _summary(
    attack: str,
    samples: Sequence[Sample],
    info: AttackInfo | None,
    draw: Callable[[int], Resamples],
) -> Summary:
    end = limit(samples, info)
    aligned = {net: align(found) for net, found in by_net(samples).items()}
    # Networks on the same seeds and images are worked on together: many times as fast.
    groups: dict[tuple[tuple[int, ...], tuple[int, ...]], dict[NetName, Floats]] = {}
    for net in sorted(aligned, key=itemgetter(0)):
        mine = aligned[net]
        groups.setdefault((mine.seeds, mine.images), {})[net] = mine.l2
    found = {
        (one.backbone, one.variant): one
        for (seeds, images), nets in groups.items()
        for some in _backbones(nets, _TOGETHER // draw(len(images)).replicates)
        for one in _estimates(some, len(seeds), end, draw(len(images)))
    }
    for (backbone, variant), mine in aligned.items():
        base = aligned.get((backbone, BASELINE))
        if base and (mine.seeds, mine.images) != (base.seeds, base.images):
            gap = _difference(mine, base, end, draw)
            found[backbone, variant] = replace(found[backbone, variant], against=gap)
    return Summary(attack, end, tuple(found[net] for net in aligned))


def _backbones(nets: Mapping[NetName, Floats], rows: int) -> Iterator[dict[NetName, Floats]]:
    """The networks in parts of about so many seeds, those of a backbone together."""
    some: dict[NetName, Floats] = {}
    for _, names in groupby(nets, key=itemgetter(0)):
        some |= {name: nets[name] for name in names}
        if sum(map(len, some.values())) >= rows:
            yield some
            some = {}
    if some:
        yield some


def _estimates(
    nets: Mapping[NetName, Floats], seeds: int, end: float, draws: Resamples
) -> Iterator[Estimate]:
    """Estimates of networks, seeds x images each, on the same seeds and images; against the
    bottom-up one of the same backbone if it is among them."""
    names = list(nets)
    l2 = np.concatenate([nets[name] for name in names])

    def told(per_seed: Floats, replicates: Floats, low: float, high: float) -> list[Interval]:
        stacked = replicates.reshape(draws.replicates, -1, seeds)
        find = mean_intervals if math.isfinite(high) else intervals  # a median has no upper bound
        return find(per_seed.reshape(-1, seeds), stacked, draws, (low, high))

    shares = areas(l2, end)
    means, means_of = shares.mean(1), draws.means(shares)
    area = told(means, means_of, 0.0, 100.0)
    standing = np.concatenate([_standing(l2, share * end) for share in (0.0, *SHARES)])
    counts = draws.counts(standing)
    percent = 100.0 / draws.images
    at = told(percent * standing.sum(1), percent * counts, 0.0, 100.0)
    medians = lower_medians(l2)
    median = told(medians, draws.medians(l2, counts[:, : len(l2)]), 0.0, np.inf)
    endless = np.isinf(medians).reshape(-1, seeds).sum(1)
    pairs = [
        (k, names.index((backbone, BASELINE)))
        for k, (backbone, variant) in enumerate(names)
        if variant != BASELINE and (backbone, BASELINE) in nets
    ]
    gaps: dict[int, Interval] = {}
    if pairs:
        places = np.arange(len(l2)).reshape(-1, seeds)
        mine, base = (places[[*of]].ravel() for of in zip(*pairs, strict=True))
        apart = means_of[:, mine] - means_of[:, base]
        found = told(means[mine] - means[base], apart, -100.0, 100.0)
        gaps = {k: gap for (k, _), gap in zip(pairs, found, strict=True)}
    for k, name in enumerate(names):
        clean, *others = at[k :: len(names)]
        yield Estimate(
            *name,
            seeds=seeds,
            images=draws.images,
            clean=clean,
            area=area[k],
            against=gaps.get(k),
            median=median[k],
            at=tuple(others),
            endless=int(endless[k]),
        )


def _standing(l2: Floats, budget: float) -> Marks:
    """The images that a perturbation of at most that size does not fool."""
    found: Marks = l2 > budget * REACHED
    return found


def _difference(
    mine: Aligned, base: Aligned, end: float, draw: Callable[[int], Resamples]
) -> Interval | None:
    """How much more area than the baseline, on the seeds and images that both have."""
    seeds = sorted(set(mine.seeds) & set(base.seeds))
    images = sorted(set(mine.images) & set(base.images))
    if not seeds or not images:
        return None
    own, other = (areas(part(aligned, seeds, images), end) for aligned in (mine, base))
    return mean_interval(own - other, draw(len(images)), (-100.0, 100.0))
