"""Robustness in numbers: what a curve comes to, with confidence intervals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leaderboard.bootstrap import (
    REPLICATES,
    Interval,
    Resamples,
    mean_interval,
    mean_intervals,
    median_interval,
)
from leaderboard.curves import REACHED, by_attack, by_net, limit
from leaderboard.kept import Kept, fingerprint
from leaderboard.results import AttackInfo, Results, Sample

Floats = NDArray[np.float64]

BASELINE = "bu"
SHARES = (0.25, 0.5, 1.0)  # of the limit: budgets at which accuracy is told


@dataclass(frozen=True, slots=True)
class Estimate:
    """One network under one attack; accuracies are percent of all attacked images.

    `clean` is the accuracy at L2 0, `area` the mean accuracy over L2 from 0 to the limit (the area
    under the curve of accuracy, as a share of what a perfect network has), `against` its difference
    to the bottom-up network of the same backbone, seeds and images paired (None for that one
    itself, or without one), `median` the mean over seeds of the lower median L2 of the images
    classified correctly, `at` the accuracies at `SHARES` of the limit.
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


@dataclass(frozen=True, slots=True)
class Summary:
    """One attack on one data set: all networks up to the same L2."""

    attack: str
    limit: float
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """Distances of several seeds on the same images: seeds x images."""

    seeds: tuple[int, ...]
    images: tuple[int, ...]
    l2: Floats


def align(samples: Sequence[Sample]) -> Aligned:
    """One network's samples of one attack, on the images that all of them have.

    Raises:
        ValueError: a seed comes twice, or there is no such image.
    """
    samples = sorted(samples, key=lambda sample: sample.seed)
    seeds = tuple(sample.seed for sample in samples)
    where = [dict(zip(numbers(sample), range(sample.l2.size), strict=True)) for sample in samples]
    common = sorted(set(where[0]).intersection(*where[1:]))
    name = "/".join((samples[0].dataset, samples[0].backbone, samples[0].variant))
    if len(set(seeds)) < len(seeds) or not common:
        raise ValueError(f"{name}: seeds {seeds} have no image in common, or come twice")
    rows = [
        sample.l2[[places[image] for image in common]]
        for sample, places in zip(samples, where, strict=True)
    ]
    return Aligned(seeds, tuple(common), np.stack(rows))


def numbers(sample: Sample) -> list[int]:
    """Each image's number in the test set, or its row where that is not known."""
    found: list[int] = range(sample.l2.size) if sample.index is None else sample.index.tolist()  # type: ignore[assignment]
    return [*found]


@dataclass(frozen=True, slots=True)
class Attacks:
    """All attacks on a data set: a fingerprint of each one's samples, and what they come to."""

    prints: Mapping[str, str]
    summaries: Sequence[Summary]


def attacks_of(results: Results, dataset: str, kept: Kept) -> Attacks:
    """Sum up what `results` have of the attacks on `dataset`; what is kept is read."""
    prints = {a: fingerprint(found) for a, found in by_attack(results.samples, dataset).items()}
    return Attacks(prints, summaries(results.samples, dataset, results.attacks, kept, prints))


def summaries(
    samples: Iterable[Sample],
    dataset: str,
    infos: Mapping[str, AttackInfo],
    kept: Kept | None = None,
    prints: Mapping[str, str] | None = None,
) -> list[Summary]:
    """A summary of each attack on `dataset`, in the order of the samples; those that are kept under
    the attack's fingerprint are read."""
    draw = cache(Resamples)
    found = []
    for attack, some in by_attack(samples, dataset).items():
        info = infos.get(attack)

        def make(attack: str = attack, some: Sequence[Sample] = some) -> str:
            made = _summary(attack, some, limit(some, infos.get(attack)), draw)
            return json.dumps(asdict(made))

        if kept is None or prints is None:
            text = make()
        else:
            depends = ("summary", attack, prints[attack], info, BASELINE, SHARES, REPLICATES)
            text = kept.text(depends, make)
        found.append(_summary_from(json.loads(text)))
    return found


def _summary_from(read: dict[str, Any]) -> Summary:
    return Summary(read["attack"], read["limit"], tuple(map(_estimate, read["estimates"])))


def _estimate(read: dict[str, Any]) -> Estimate:
    intervals = {
        name: None if read[name] is None else Interval(**read[name])
        for name in ("clean", "area", "against", "median")
    }
    return Estimate(**{**read, **intervals, "at": tuple(Interval(**at) for at in read["at"])})


def _summary(
    attack: str, samples: Sequence[Sample], end: float, draw: Callable[[int], Resamples]
) -> Summary:
    aligned = {net: align(found) for net, found in by_net(samples).items()}
    estimates = []
    for (backbone, variant), mine in aligned.items():
        draws = draw(len(mine.images))
        base = aligned.get((backbone, BASELINE)) if variant != BASELINE else None
        withstood = [_surviving(mine.l2, share * end) for share in (0.0, *SHARES)]
        tables = [areas(mine.l2, end), *withstood]
        area, clean, *at = mean_intervals(tables, draws, (0.0, 100.0))
        estimates.append(
            Estimate(
                backbone,
                variant,
                len(mine.seeds),
                len(mine.images),
                clean,
                area,
                None if base is None else _difference(mine, base, end, draw),
                median_interval(mine.l2, draws),
                tuple(at),
            )
        )
    return Summary(attack, end, tuple(estimates))


def _surviving(l2: Floats, budget: float) -> Floats:
    withstood: Floats = 100.0 * (l2 > budget * REACHED).astype(np.float64)
    return withstood


def areas(l2: Floats, end: float) -> Floats:
    """Each image's share of the area under the curve of accuracy: it counts until it is fooled."""
    shares: Floats = 100.0 * np.minimum(l2, end) / end
    return shares


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


def part(aligned: Aligned, seeds: Sequence[int], images: Sequence[int]) -> Floats:
    """The distances of these seeds and images, all of which are there."""
    place = {image: number for number, image in enumerate(aligned.images)}
    rows = [aligned.seeds.index(seed) for seed in seeds]
    return aligned.l2[np.ix_(rows, [place[image] for image in images])]
