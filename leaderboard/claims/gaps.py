"""The differences that a claim is about: one network against others, seed by seed.

Networks of other backbones are paired by seed as variants are. A seed fixes the validation split,
the order of the images and their augmentation for every network; the first weights are each one's
own. What two networks share falls out of their difference, what they do not stays in it as scatter,
and the differences of several seeds are independent either way, which is all that a paired test
asks for. A test of two samples would ask for sides that are independent of each other, which that
order makes untrue. Pairing costs degrees of freedom: n - 1 instead of 2 n - 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from leaderboard.claims.gap import Floats, Gap, Net, average, mean_of
from leaderboard.claims.localized import FIGURES, Rival, located
from leaderboard.numbers.aligned import Aligned, align, areas, part
from leaderboard.numbers.curves import by_attack, by_net, limit
from leaderboard.numbers.doubts import doubts_between
from leaderboard.numbers.scales import METRIC as PERTURBED
from leaderboard.numbers.summary import AREA, Key, by_seed
from leaderboard.results import Claim, Results
from leaderboard.statistics.uncertainty import image_part

LOSS = "loss"
_LOCALIZATION = "localization"
# Of the measure of efficiency; resident and allocated memory, speed and energy are measured.
_COUNTED = ("parameters", "flops", "macs", "activations", "train_memory", "inference_memory")


def gaps(results: Results, claim: Claim) -> list[Gap]:
    """All differences that the claim is about, in the order of the networks: of several numbers,
    the mean. Percentages and others have none, and are two differences (a suite refuses them)."""
    finders = (_inputs,) if claim.expect == "weakest input" else (_plain, _attacked, _localized)
    groups: dict[tuple[object, ...], list[Gap]] = {}
    for finder in finders:
        for gap in finder(results, claim):
            groups.setdefault((gap.net, gap.rival, gap.ratio), []).append(gap)
    found = [mean for group in groups.values() if (mean := mean_of(group)) is not None]
    place = {net: number for number, net in enumerate(results.nets)}
    return sorted(found, key=lambda gap: place.get(gap.net, len(place)))


def rivals(claim: Claim, backbone: str, variant: str) -> list[Rival]:
    """The networks, of the same data set, that one is compared with: never with itself."""
    split = (entry.rpartition("/") for entry in claim.against)
    found = dict.fromkeys((own or backbone, other) for own, _, other in split)
    return [rival for rival in found if rival != (backbone, variant)]


def named(rival: Rival, backbone: str) -> str:
    """A rival of a network of that backbone as `Gap.rival` has it."""
    return rival[1] if rival[0] == backbone else " ".join(rival)


def concerns(claim: Claim, dataset: str, backbone: str, variant: str) -> bool:
    """Whether the claim is about that network."""
    name = f"{dataset}/{backbone}/{variant}"
    return any(fnmatchcase(name, pattern) for pattern in claim.nets)


def _counts(claim: Claim, measure: str, metric: str) -> bool:
    return any(fnmatchcase(f"{measure}/{metric}", pattern) for pattern in claim.numbers)


def _plain(results: Results, claim: Claim) -> Iterator[Gap]:
    """Tidy numbers that are not compared more carefully below."""
    table = by_seed(results.rows)
    groups: dict[tuple[Net, bool], list[Key]] = {}
    for key in table:
        careful = key.measure.partition("/")[0] == _LOCALIZATION and key.metric in FIGURES
        if (careful and results.localized) or (key.measure, key.metric) not in results.metrics:
            continue
        if concerns(claim, *key[:3]) and _counts(claim, *key[3:]):
            ratio = results.metrics[key.measure, key.metric].unit != "%"
            groups.setdefault((key[:3], ratio), []).append(key)
    for (net, ratio), keys in groups.items():
        for rival in rivals(claim, *net[1:]):
            sides = [(k, k._replace(backbone=rival[0], variant=rival[1])) for k in keys]
            both = [pair for pair in sides if pair[1] in table]
            if not both:
                continue
            exact = all(key.measure == "efficiency" and key.metric in _COUNTED for key in keys)
            names = tuple(f"{key.measure}/{key.metric}" for key, _ in both)
            whole = [(table[mine], table[other]) for mine, other in both]
            name = named(rival, net[1])
            gap = _paired(net, name, names, whole, ratio=ratio, exact=exact)
            if gap is not None:
                infos = {results.metrics[key.measure, key.metric] for key, _ in both}
                info = infos.pop() if ratio and len(infos) == 1 else None
                flags = doubts_between(results, (key for pair in sides for key in pair))
                yield replace(gap, info=info, flags=flags)


def _paired(
    net: tuple[str, str, str],
    rival: str,
    numbers: tuple[str, ...],
    pairs: Sequence[tuple[Mapping[int, float], Mapping[int, float]]],
    ratio: bool,
    exact: bool,
) -> Gap | None:
    """The mean over several numbers; None without a seed that all have, or for an infinite one."""
    seeds = sorted(set.intersection(*({*one} & {*other} for one, other in pairs)))
    mine, other = (
        np.array([[pair[side][seed] for seed in seeds] for pair in pairs], dtype=np.float64)
        for side in (0, 1)
    )
    if not seeds or not np.isfinite([mine, other]).all():
        return None
    if ratio and not (mine > 0).all() & (other > 0).all():
        return None
    values = (np.log(mine / other) if ratio else mine - other).mean(0)
    even = np.full(len(pairs), 1 / len(pairs))
    means = average(mine.mean(1), ratio, even), average(other.mean(1), ratio, even)
    return Gap(*net, rival, tuple(seeds), values, *means, numbers, ratio=ratio, exact=exact)


@dataclass(frozen=True, slots=True, eq=False)
class _Attack:
    """An attack on a data set up to L2 `end`; with `loss` it is the accuracy lost that counts."""

    measure: str
    end: float
    loss: bool
    nets: Mapping[tuple[str, str], Aligned]

    def values(self, net: tuple[str, str], seeds: Sequence[int], images: Sequence[int]) -> Floats:
        """Percentages of the area, seeds x images."""
        l2 = part(self.nets[net], seeds, images)
        kept = areas(l2, self.end)
        return 100.0 * (l2 > 0) - kept if self.loss else kept


def _attacked(results: Results, claim: Claim) -> Iterator[Gap]:
    """Mean accuracy (loss) under attack, over all attacks that the claim names, image by image."""
    for dataset in dict.fromkeys(sample.dataset for sample in results.samples):
        attacks: list[_Attack] = []
        for attack, some in by_attack(results.samples, dataset).items():
            for metric in (AREA, LOSS):
                measure = f"robustness/{attack}"
                if _counts(claim, measure, metric):
                    end = limit(some, results.attacks.get(attack))
                    nets = {net: align(of) for net, of in by_net(some).items()}
                    attacks.append(_Attack(measure, end, metric == LOSS, nets))
        for backbone, variant in dict.fromkeys(net for one in attacks for net in one.nets):
            if concerns(claim, dataset, backbone, variant):
                for rival in rivals(claim, backbone, variant):
                    gap = _attack_gap((dataset, backbone, variant), rival, attacks)
                    if gap is not None:
                        sides = [
                            Key(dataset, *side, one.measure, AREA)
                            for one in attacks
                            for side in ((backbone, variant), rival)
                        ]
                        yield replace(gap, flags=doubts_between(results, sides))


def _attack_gap(net: tuple[str, str, str], rival: Rival, attacks: Sequence[_Attack]) -> Gap | None:
    pair = (net[1:], rival)
    both = [one for one in attacks if all(side in one.nets for side in pair)]
    sides = [one.nets[side] for one in both for side in pair]
    if not both:
        return None
    seeds = sorted(set.intersection(*({*side.seeds} for side in sides)))
    images = sorted(set.intersection(*({*side.images} for side in sides)))
    if not seeds or not images:
        return None
    mine, other = (
        np.mean([one.values(side, seeds, images) for one in both], axis=0) for side in pair
    )
    names = tuple(f"{one.measure}/{LOSS if one.loss else AREA}" for one in both)
    return _of_tables(net, named(rival, net[1]), names, tuple(seeds), mine, other)


def _of_tables(
    net: tuple[str, str, str],
    rival: str,
    names: tuple[str, ...],
    seeds: tuple[int, ...],
    mine: Floats,
    other: Floats,
) -> Gap:
    """From two tables of seeds x images."""
    table = mine - other
    means = float(mine.mean()), float(other.mean())
    return Gap(*net, rival, seeds, table.mean(1), *means, names, image_part(table))


def _localized(results: Results, claim: Claim) -> Iterator[Gap]:
    """Of heatmaps, on the images that both networks classify correctly."""
    if not any(pattern.startswith(_LOCALIZATION) for pattern in claim.numbers):
        return
    for dataset in dict.fromkeys(cell.dataset for cell in results.localized):

        def wanted(backbone: str, variant: str, dataset: str = dataset) -> list[Rival]:
            concerned = concerns(claim, dataset, backbone, variant)
            return rivals(claim, backbone, variant) if concerned else []

        for found in located(results, dataset, wanted):
            measure = "/".join(filter(None, (_LOCALIZATION, found.item)))
            net = (dataset, found.backbone, found.variant)
            if _counts(claim, measure, found.figure):
                rival = named(found.rival, found.backbone)
                names = (f"{measure}/{found.figure}",)
                yield _of_tables(net, rival, names, found.seeds, found.mine, found.other)


def _inputs(results: Results, claim: Claim) -> Iterator[Gap]:
    """Accuracy with one scale input perturbed less that with another: negative is more vulnerable.

    Where the claim names several inputs, it is about the most vulnerable of these, and says of how
    many it was picked."""
    table = by_seed(results.rows)
    attacks: dict[tuple[str, str, str], dict[str, dict[str, Mapping[int, float]]]] = {}
    for key, seeds in table.items():
        name = key.metric[len(PERTURBED) : -1]
        single = key.metric.startswith(PERTURBED) and "+" not in name
        # Whichever number of an attack is named, it is its accuracies with one input perturbed.
        meant = any(fnmatchcase(key.measure, p.rpartition("/")[0]) for p in claim.numbers)
        if single and meant and concerns(claim, *key[:3]):
            of = attacks.setdefault(tuple(key[:3]), {})  # type: ignore[arg-type]
            of.setdefault(key.measure, {})[name] = seeds
    for net, of in attacks.items():
        inputs = set.intersection(*({*found} for found in of.values()))
        named = [name for name in claim.inputs if name in inputs]
        weakest = min(named, key=lambda name: _mean(of.values(), name), default=None)
        for rival in sorted(inputs - {*claim.inputs}):
            if weakest is not None:
                pairs = [(found[weakest], found[rival]) for found in of.values()]
                names = tuple(f"{measure}/{PERTURBED[:-1]}" for measure in of)
                gap = _paired(net, rival, names, pairs, ratio=False, exact=False)
                if gap is not None:
                    keys = [Key(*net, measure, PERTURBED) for measure in of]
                    flags = doubts_between(results, keys)
                    yield replace(gap, flags=flags, chosen_from=len(named))


def _mean(attacks: Iterable[Mapping[str, Mapping[int, float]]], name: str) -> float:
    return float(np.mean([value for found in attacks for value in found[name].values()]))
