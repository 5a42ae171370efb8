"""Which of the cells of several runs go into the merged one.

Numbers of one network are never mixed with those of another: of each training the weights that most
cells were measured of are kept, and with them only what was measured of these same weights. Records
of earlier versions do not tell the weights: they count as those of their run alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.store.merge_source import CellRow, Planned, Source, searches
from bench.store.outcome import network_of
from bench.store.tuned import RECIPE, SCORE, Tried, choose

TRAIN, TRIAL = "train", "tune/"
_SHARED = ""  # the network of records that need not tell it: their identity holds its weights


@dataclass(slots=True)
class Choice:
    """The cells that are taken, by identity, each with its run; of which runs half-done cells may
    be carried on; and lines on what is left out for being of another network."""

    taken: dict[str, Source] = field(default_factory=dict)
    carried: dict[str, list[Source]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def row(self, identity: str) -> CellRow:
        """The record that is taken of a cell."""
        return self.taken[identity].cells[identity]


@dataclass(slots=True)
class _Group:
    """The planned cells of one network; `train` is None where its weights come from a file."""

    name: str
    nets: set[tuple[str, str, str]]
    names: set[str]
    cells: dict[str, None]
    train: str | None = None


def choice(sources: Sequence[Source]) -> Choice:
    """What is taken of the runs for the plan of the first."""
    found = Choice()
    groups = _groups(sources[0].planned)
    unfit = _take_trials(searches(sources), groups, sources, found)
    for group in groups:
        _take(group, sources, unfit, found)
    found.taken = _unplanned(sources[0], groups, found) | found.taken
    return found


def _unplanned(first: Source, groups: Iterable[_Group], found: Choice) -> dict[str, Source]:
    """What the first run has of earlier plans, which a later plan may have again, and trials whose
    search no run tells; not what does not tell its network where that of another run is kept."""
    others = tuple(
        f"{name}/"
        for group in groups
        if any(found.taken.get(identity, first) is not first for identity in group.cells)
        for name in group.names
    )
    planned = {identity for group in groups for identity in group.cells}
    return {
        identity: first
        for identity, row in first.cells.items()
        if identity not in planned
        and (network_of(row.facts) is not None or not row.name.startswith(others))
    }


def _groups(planned: Iterable[Planned]) -> list[_Group]:
    """The planned cells by network; labels of one and the same network are together."""
    labels: dict[tuple[str, str, str, int], _Group] = {}
    of: dict[str, _Group] = {}
    for row in planned:
        if row.measure.startswith(TRIAL):
            continue
        net = row.dataset, row.backbone, row.variant
        group = labels.get((*net, row.seed)) or of.get(row.identity)
        name = f"{'/'.join(net)}/seed{row.seed}"
        if group is None:
            group = _Group(name, set(), set(), {})
        group = labels.setdefault((*net, row.seed), group)
        of.setdefault(row.identity, group)
        group.nets.add(net)
        group.names.add(name)
        group.cells[row.identity] = None
        if row.measure == TRAIN:
            group.train = row.identity
    return list({id(group): group for group in labels.values()}.values())


# Networks ---------------------------------------------------------------------------------------


class _Networks:
    """Which network each run's records of a group are of."""

    def __init__(self, group: _Group, sources: Sequence[Source], unfit: Collection[str]) -> None:
        self._group = group
        self.sources = sources
        self.base = [self._base(one) for one in sources]
        self.known = [dict(self._known(one)) for one in sources]
        # The networks whose training may not be kept, in whatever run it is.
        self.unfit = {
            self.base[one.number]
            for one in sources
            if group.train in one.cells and f"{one.number} {group.train}" in unfit
        }

    def _base(self, one: Source) -> str:
        """The network that records of a run are of that do not tell."""
        own = f"run {one.number}"
        train = one.cells.get(self._group.train or "")
        if train is not None and train.is_done:
            return network_of(train.facts) or own
        told = {network_of(row.facts) for row in self.done(one)} - {None}
        if len(told) == 1:
            return str(told.pop())
        return own if self._group.train else _SHARED

    def _known(self, one: Source) -> Iterator[tuple[str, str]]:
        """The networks of done cells that can be told from those of other runs."""
        train = one.cells.get(self._group.train or "")
        if train is not None and train.is_done and network_of(train.facts) is None:
            return  # what its cells tell was not compared with its training
        for row in self.done(one):
            network = network_of(row.facts)
            if network is not None:
                yield row.identity, network
            elif self._group.train is None and self.base[one.number] == _SHARED:
                yield row.identity, _SHARED

    def done(self, one: Source) -> Iterator[CellRow]:
        """The done cells of a run."""
        rows = (one.cells.get(identity) for identity in self._group.cells)
        return (row for row in rows if row is not None and row.is_done)

    def of(self, one: Source, identity: str) -> str:
        """The network of a done cell."""
        return self.known[one.number].get(identity, self.base[one.number])

    def done_of(self, network: str, owner: Source) -> dict[str, list[Source]]:
        """The runs that have done each cell of a network, if that is the one of `owner`."""
        found: dict[str, list[Source]] = {}
        for one in self.sources:
            for row in self.done(one):
                told = self.known[one.number].get(row.identity)
                alone = told is None and one is owner and self.base[one.number] == network
                if told == network or alone:
                    found.setdefault(row.identity, []).append(one)
        return found

    def best(self) -> tuple[str, Source, dict[str, list[Source]]] | None:
        """The network of which most cells are done, its run, and who has done them; of equal ones
        one with its training, then that of the earliest run. None if nothing is done."""
        found = [
            (network, one, self.done_of(network, one))
            for one in self.sources
            for network in dict.fromkeys(self.of(one, row.identity) for row in self.done(one))
            if network not in self.unfit
        ]
        train = self._group.train
        return max(found, key=lambda it: (len(it[2]), train in it[2], -it[1].number), default=None)

    def failed(self, network: str, owner: Source, identity: str) -> Iterator[Source]:
        """The runs in which a cell of this network failed."""
        for one in self.sources:
            row = one.cells.get(identity)
            if row is not None and not row.is_done:
                told = network_of(row.facts) or self.base[one.number]
                if told == network and (one is owner or identity != self._group.train):
                    yield one

    def trained(self, network: str, owner: Source) -> Iterator[Source]:
        """The runs whose half-done cells are of the network: parts do not tell that themselves."""
        train = self._group.train
        for one in self.sources:
            same = network == self.base[one.number] == self.known[one.number].get(train or "")
            if one is owner or train is None or same:
                yield one


def _take(group: _Group, sources: Sequence[Source], unfit: Collection[str], to: Choice) -> None:
    """Take the cells of one network."""
    networks = _Networks(group, sources, unfit)
    best = networks.best()
    if best is None:
        for identity in group.cells:  # no number is there that could be mixed with others
            for one in sources:
                if identity in one.cells and not one.cells[identity].is_done:
                    to.taken.setdefault(identity, one)
            if group.train is None:
                to.carried[identity] = [*sources]
        to.told += _left_out(group, networks, {}, None, to)
        return
    network, owner, done = best
    for identity in group.cells:
        runs = done.get(identity) or [*networks.failed(network, owner, identity)]
        if identity == group.train:  # better with its weights
            runs = sorted(runs, key=lambda one: identity in one.bare)
        if runs:
            to.taken[identity] = runs[0]
        if identity not in done and identity != group.train:
            to.carried[identity] = [*networks.trained(network, owner)]
    to.told += _left_out(group, networks, done, owner, to)


def _left_out(
    group: _Group,
    networks: _Networks,
    done: Mapping[str, list[Source]],
    owner: Source | None,
    to: Choice,
) -> Iterator[str]:
    """A line for each run with finished cells of another network than the one of `owner`."""
    for one in networks.sources:
        rows = [
            row
            for row in networks.done(one)
            if one not in done.get(row.identity, ()) and not _is_copy(row, to)
        ]
        if not rows:
            continue
        count = f"{len(rows)} finished cell{'' if len(rows) == 1 else 's'}"
        others = {networks.of(one, row.identity) for row in rows}
        if owner is None or others & networks.unfit:
            yield (
                f"{group.name}: left out of {one.label}: {count}, of another recipe than the "
                "trials choose that are kept"
            )
            continue
        told = all(row.identity in networks.known[one.number] for row in rows)
        what = "other weights" if told else "weights that its records do not tell"
        yield (
            f"{group.name}: left out of {one.label}: {count}, of {what}; kept are those of "
            f"{owner.label}, with {len(done)} finished"
        )


def _is_copy(row: CellRow, to: Choice) -> bool:
    """Whether it is the very record that is taken, in a copy of the run or a part of it."""
    if row.identity not in to.taken:
        return False
    return row._replace(session=0) == to.row(row.identity)._replace(session=0)


# Trials -----------------------------------------------------------------------------------------


def _take_trials(
    told_searches: Iterable[Mapping[str, Any]],
    groups: Sequence[_Group],
    sources: Sequence[Source],
    to: Choice,
) -> set[str]:
    """Take the trials of each search; return the trainings (run and identity) that were done with
    another recipe than these choose."""
    unfit = set()
    for told in told_searches:
        net = told["dataset"], told["backbone"], told["variant"]
        own = [group for group in groups if net in group.nets]
        trials = told["trials"]
        whole = [one for one in sources if all(trial in one.cells for trial in trials)]
        cells = [identity for group in own for identity in group.cells]
        # A choice is of all its trials: those of one machine rather than the best of several.
        first = max(whole, key=lambda one: (_count(one, cells), -one.number), default=None)
        for trial in trials:
            runs = [first] if first else [one for one in sources if trial in one.cells]
            runs.sort(key=lambda one: not one.cells[trial].is_done)
            if runs:
                to.taken.setdefault(trial, runs[0])
        chosen = _chosen(trials, to)
        for group in own if chosen is not None else ():
            unfit |= {
                f"{one.number} {group.train}"
                for one in sources
                if group.train in one.cells
                and not _fits(one.cells[group.train], to.row(str(chosen)), told["axes"])
            }
    return unfit


def _count(one: Source, cells: Iterable[str]) -> int:
    return sum(identity in one.cells and one.cells[identity].is_done for identity in cells)


def _chosen(trials: Sequence[str], to: Choice) -> str | None:
    """The identity of the best trial; None as long as not all are over."""
    if not all(trial in to.taken for trial in trials):
        return None
    found = []
    for trial in trials:
        scores = [row[3] for row in to.taken[trial].metrics.get(trial, ()) if row[2] == SCORE]
        usable = scores and to.row(trial).is_done and math.isfinite(scores[0])
        found.append(Tried(scores[0] if usable else None))
    number = choose(found)
    return None if number is None else trials[number]


def _fits(training: CellRow, trial: CellRow, axes: Collection[str]) -> bool:
    """Whether a training was done with the recipe of a trial, but for the length of that."""
    if not training.is_done:
        return True
    one, other = (json.loads(row.facts).get(RECIPE) for row in (training, trial))
    if one is None or other is None:
        return True
    keys = {key for key in {*one, *other} if key != "epochs" or key in axes}
    return all(one.get(key) == other.get(key) for key in keys)
