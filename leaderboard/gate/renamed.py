"""Backbones that two runs only call by different labels.

They are known by their trainings or weights; where these are others, which is what a gate is to
judge, by the name and the options that a suite declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from leaderboard.gate.measured import SIDES, Measured, Sides, Trained
from leaderboard.gate.stale import backbone, differences
from leaderboard.gate.thresholds import Threshold, fits
from leaderboard.numbers.summary import Key

K = TypeVar("K", bound=NamedTuple)
V = TypeVar("V")


def renamed(before: Measured, after: Measured) -> dict[str, str]:
    """By label in `after`, the label in `before` of the same backbone, where a label is on one side
    only: one of which every training that both sides have is the same, or else, where nothing is
    done otherwise, one that is declared alike."""
    mine, theirs = _by_label(before), _by_label(after)
    free = [label for label in mine if label not in theirs]
    found: dict[str, str] = {}
    for label, nets in theirs.items():
        if label in mine:
            continue
        same = next((old for old in free if _are_same(mine[old], nets, before, after)), None)
        if same is not None:
            free.remove(same)  # of two labels for one network each has one
            found[label] = same
    alike: dict[str, str] = {}
    for label in (label for label in theirs if label not in mine and label not in found):
        declared = after.backbones.get(label)
        old = next(
            (old for old in free if declared and before.backbones.get(old) == declared), None
        )
        if old is not None:
            free.remove(old)
            alike[label] = old
    # Under all of them at once: overrides of one would differ as long as it has its other label.
    if alike and not otherwise(before, under({**found, **alike}, after)):
        found.update(alike)
    return found


def otherwise(before: Measured, after: Measured, sides: Sides = SIDES) -> list[str]:
    """What two runs did differently (see `differences`), seeds aside."""
    one, other = (
        replace(side, experiment={k: v for k, v in side.experiment.items() if k != "seeds"})
        for side in (before, after)
    )
    return differences(one, other, sides)


def told(
    names: Mapping[str, str], before: Measured, after: Measured, sides: Sides = SIDES
) -> Iterator[str]:
    """A sentence for each backbone that goes by its label in `before`."""
    mine, theirs = _by_label(before), _by_label(after)
    for new, old in names.items():
        text = "the same network under another label"
        if not _are_same(mine[old], theirs[new], before, after):
            what = backbone(after.backbones[new])
            text = f"both are {what}, which is taken for the same backbone under another label"
        yield f"{old} {sides[0]} is {new} {sides[1]}: {text}"


def unlike(before: Measured, after: Measured) -> Iterator[str]:
    """Sentences on labels that stand for another backbone now, and on those of one side only.

    Args:
        before: the baseline.
        after: the run, with labels as in the baseline where they are known to be the same.
    """
    mine, theirs = _by_label(before), _by_label(after)
    for label in (label for label in mine if label in theirs):
        one, two = (side.backbones.get(label) for side in (before, after))
        if one and two and one != two:
            yield (f"backbone {label} is {backbone(one)} {SIDES[0]}, {backbone(two)} {SIDES[1]}")
    gone = [label for label in mine if label not in theirs]
    fresh = [label for label in theirs if label not in mine]
    if gone and fresh:
        yield (
            f"{', '.join(gone)} {_is(gone)} {SIDES[0]} only, {', '.join(fresh)} {SIDES[1]} only; "
            f"if that is the same backbone under another name, `label: {gone[0]}` in the suite has "
            "it compared"
        )


def _is(names: list[str]) -> str:
    return "are" if len(names) > 1 else "is"


def labels_of(run: Measured) -> set[str]:
    """The labels of the backbones that a run has numbers of, or was to have."""
    return {*_by_label(run)}


def translated(
    said: Mapping[str, Threshold], names: Mapping[str, str], keys: Iterable[Key]
) -> dict[str, Threshold]:
    """Thresholds for the labels of a run as those for the labels of `keys`, by `names`.

    A pattern that would fit other numbers under these is replaced by one for each number.
    """
    new = {old: label for label, old in names.items()}
    own = {key: key._replace(backbone=new.get(key.backbone, key.backbone)) for key in keys}
    found: dict[str, Threshold] = {}
    for pattern, one in said.items():
        if one.reference is not None:
            one = replace(one, reference=_named(one.reference, names))
        meant = [key for key, mine in own.items() if fits(pattern, mine)]
        if meant == [key for key in own if fits(pattern, key)]:
            meant = []  # as it stands, also where it fits nothing, which is told
        exact = {f"{'/'.join(key[:4])}/{key.metric}": one for key in meant}
        for name, rule in (exact or {pattern: one}).items():
            found.pop(name, None)  # later ones win
            found[name] = rule
    return found


def _named(text: str, names: Mapping[str, str]) -> str:
    """`dataset/new/variant` or a pattern of it as `dataset/old/variant`."""
    for new, old in names.items():
        text = text.replace(f"/{new}/", f"/{old}/")
    return text


def under(names: Mapping[str, str], run: Measured) -> Measured:
    """The run with the labels of its backbones replaced by those of `names`."""

    def label(one: K) -> K:
        old: str = one.backbone  # type: ignore[attr-defined]
        return one._replace(backbone=names.get(old, old))

    def nets(some: Mapping[Trained, V]) -> dict[Trained, V]:
        return {label(net): value for net, value in some.items()}

    def pairs(some: Mapping[tuple[Trained, str], V]) -> dict[tuple[Trained, str], V]:
        return {(label(net), measure): value for (net, measure), value in some.items()}

    return replace(
        run,
        numbers={label(key): number for key, number in run.numbers.items()},
        gaps=pairs(run.gaps),
        correct=nets(run.correct),
        attacked=pairs(run.attacked),
        weights=nets(run.weights),
        trainings=nets(run.trainings),
        backbones={names.get(one, one): what for one, what in run.backbones.items()},
        experiment=_experiment(run.experiment, names),
    )


def _experiment(experiment: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    """With overrides that go by the other labels."""
    if not experiment.get("overrides"):
        return experiment
    overrides = [
        {**one, "match": _named(str(one.get("match", "*")), names)}
        for one in experiment["overrides"]
    ]
    return {**experiment, "overrides": overrides}


def _by_label(run: Measured) -> dict[str, list[Trained]]:
    found: dict[str, list[Trained]] = {}
    named = (Trained(*key[:3], seed) for key, one in run.numbers.items() for seed in one.values)
    for net in dict.fromkeys([*run.trainings, *run.weights, *named]):
        found.setdefault(net.backbone, []).append(net)
    return found


def _are_same(
    mine: list[Trained], theirs: list[Trained], before: Measured, after: Measured
) -> bool:
    """Whether trainings of the same data set, variant and seed are the same; and there are any."""
    there = {(net.dataset, net.variant, net.seed): net for net in theirs}

    def judged() -> Iterator[bool]:
        for net in mine:
            other = there.get((net.dataset, net.variant, net.seed))
            if other is not None:
                # Baselines do not know what was to be trained, but what came out.
                both = [(before.trainings.get(net), after.trainings.get(other))]
                both.append((before.weights.get(net), after.weights.get(other)))
                known = [one == two for one, two in both if one and two]
                yield bool(known) and known[0]

    found = list(judged())
    return bool(found) and all(found)
