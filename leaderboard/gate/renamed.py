"""Backbones that two runs only call by different labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

from leaderboard.gate.measured import Measured, Trained

K = TypeVar("K", bound=NamedTuple)
V = TypeVar("V")


def renamed(before: Measured, after: Measured) -> dict[str, str]:
    """By label in `after`, the label in `before` of the same backbone, where a label is on one side
    only and every training that both sides have is the same one."""
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
    return found


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
    )


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
