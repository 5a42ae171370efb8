"""What a gate knows of a run, and what a baseline keeps of one: the same on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from leaderboard.numbers.batches import BATCHES
from leaderboard.numbers.summary import AREA, Key, by_seed
from leaderboard.results import Better, MetricInfo, Results

Floats = NDArray[np.float64]

Sides = tuple[str, str]
SIDES: Sides = ("in the baseline", "in the run")  # where the two things are that are compared
LOAD = "other_load"
IQR = "_iqr"  # after a metric's name: the interquartile range of its passes
_ATTACKS = "robustness"
_COST = "efficiency"
_TINIEST = float(np.finfo(np.float16).smallest_subnormal)


class Trained(NamedTuple):
    """One trained network."""

    dataset: str
    backbone: str
    variant: str
    seed: int


@dataclass(frozen=True, slots=True)
class Number:
    """One number of the leaderboard: its values by seed. Infinity stands for an attack that never
    succeeded."""

    unit: str
    better: Better
    values: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return sum(self.values.values()) / len(self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Attacked:
    """Minimal L2 of each image, as float16 (0: misclassified already; inf: never fooled), and the
    images' numbers in the test set."""

    l2: NDArray[np.float16]
    index: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Machine:
    """What speed and memory depend on."""

    hardware: str = ""
    device: str = ""
    torch: str = ""

    @property
    def model(self) -> str:
        """The processors without the memory beside them: `GPU; CPU, 16 cores`; of several machines
        joined by "and"."""
        machines = self.hardware.replace(" | ", " and ").split(" and ")
        return " and ".join(dict.fromkeys(map(_processors, machines)))

    def differs(self, other: Machine, sides: Sides = SIDES) -> str:
        """What is not alike, for a sentence; empty where speeds can be compared.

        `self` is the baseline's, `other` the run's; `sides` says where the two are.
        """
        pairs = (
            ("hardware", self.model, other.model),
            ("device", self.device, other.device),
            ("torch", self.torch, other.torch),
        )
        found = [
            f"{name} is {one or '?'} {sides[0]}, {two or '?'} {sides[1]}"
            for name, one, two in pairs
            if one != two
        ]
        return "; ".join(found)


def _processors(machine: str) -> str:
    parts = [part.strip() for part in machine.split(";")]
    return "; ".join(part for part in parts if not part.endswith("GiB"))


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A run, as far as it can be compared with another.

    `experiment` is what was done, without the networks it was done to: data sets, seeds, recipe,
    measures; where it differs, numbers have another meaning. `gaps` are cells that failed, are
    missing or damaged, with the reason. `correct` and `attacked` are per image, `limits` the L2 up
    to which an attack's area is taken, by (data set, attack). `weights` tells whether two networks
    are the same (a hash). `trainings` tells whether two trainings are (the identity of their cell;
    of runs only). `backbones` are the names and options that labels stand for; baselines of earlier
    versions do not tell. `made` are texts for a reader.
    """

    suite: str
    experiment: Mapping[str, Any]
    machine: Machine
    numbers: Mapping[Key, Number]
    gaps: Mapping[tuple[Trained, str], str] = field(default_factory=dict)
    correct: Mapping[Trained, NDArray[np.bool_]] = field(default_factory=dict)
    attacked: Mapping[tuple[Trained, str], Attacked] = field(default_factory=dict)
    limits: Mapping[tuple[str, str], float] = field(default_factory=dict)
    weights: Mapping[Trained, str] = field(default_factory=dict)
    trainings: Mapping[Trained, str] = field(default_factory=dict)
    backbones: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)

    def up_to(self, limits: Mapping[tuple[str, str], float]) -> Measured:
        """The same with the areas of its curves taken up to other limits."""
        merged = {**self.limits, **limits}
        others = {key: n for key, n in self.numbers.items() if key.metric != AREA}
        return replace(self, limits=merged, numbers={**others, **areas(self.attacked, merged)})

    def is_part_of(self, other: Measured) -> bool:
        """Whether everything measured here, but for timings and memory, was measured there too, to
        the last bit and of the same weights where both are known: a copy, a part of one, or the
        same trainings taken over and measured again."""
        for net in self.weights.keys() & other.weights.keys():
            if self.weights[net] != other.weights[net]:
                return False
        mine, others = self._bits(), other._bits()
        if not mine:  # timed only: a second timing is another, a copy is not
            mine, others = self._bits(cost=True), other._bits(cost=True)
        return bool(mine) and mine <= others

    def _bits(self, cost: bool = False) -> set[tuple[Key, int, str]]:
        """Every value by number and seed; of areas the images, for limits change the numbers."""
        found = {
            (key, seed, float(value).hex())
            for key, number in self.numbers.items()
            if key.metric != AREA and (cost or not key.measure.startswith(_COST))
            for seed, value in number.values.items()
        }
        for (net, attack), one in self.attacked.items():
            key = Key(net.dataset, net.backbone, net.variant, f"{_ATTACKS}/{attack}", AREA)
            found.add((key, net.seed, one.l2.tobytes().hex() + one.index.tobytes().hex()))
        return found


def numbers(results: Results) -> dict[Key, Number]:
    """The numbers that a leaderboard ranks by: headline metrics that have a direction.

    Of attacks, the area under the curve of accuracy stands for all (see `areas`). What a busy
    machine does to timings is kept, too, how far their passes lie apart, and the batches of costs,
    for the gate to know of.
    """
    found = {}
    for key, seeds in by_seed(results.rows).items():
        info = results.metrics.get((key.measure, key.metric), MetricInfo(key.metric))
        ranked = info.headline and info.better != "neither"
        of_passes = key.metric.endswith(IQR) and _timing(key, results).headline
        of_batch = key.measure.startswith(_COST) and key.metric in BATCHES.values()
        if key.metric == LOAD or of_passes or of_batch:
            found[key] = Number(info.unit, "neither", dict(seeds))
        elif ranked and not key.measure.startswith(f"{_ATTACKS}/"):
            found[key] = Number(info.unit, info.better, dict(seeds))
    return found


def _timing(key: Key, results: Results) -> MetricInfo:
    """The metric that an interquartile range is of."""
    name = key.metric.removesuffix(IQR)
    return results.metrics.get((key.measure, name), MetricInfo(name))


def areas(
    attacked: Mapping[tuple[Trained, str], Attacked],
    limits: Mapping[tuple[str, str], float],
) -> dict[Key, Number]:
    """The area under each curve of accuracy up to the limit, in percent of a perfect network's."""
    found: dict[Key, dict[int, float]] = {}
    for (net, attack), one in attacked.items():
        key = Key(net.dataset, net.backbone, net.variant, f"{_ATTACKS}/{attack}", AREA)
        shares = withstood(one, limits[net.dataset, attack])
        found.setdefault(key, {})[net.seed] = float(shares.mean())
    return {key: Number("%", "higher", seeds) for key, seeds in found.items()}


def withstood(one: Attacked, limit: float) -> Floats:
    """Each image's part of the area, 0 to 100: the share of the limit until it is fooled."""
    l2 = one.l2.astype(np.float64)
    shares: Floats = 100.0 * np.minimum(l2, limit) / limit
    return shares


def half_precision(l2: Floats) -> NDArray[np.float16]:
    """Distances as a baseline keeps them; what is above 0 stays above it."""
    with np.errstate(over="ignore"):  # 65,504 and more are as good as never fooled
        short = l2.astype(np.float16)
    return np.where((l2 > 0) & (short == 0), np.float16(_TINIEST), short).astype(np.float16)
