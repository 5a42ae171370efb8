"""The second look at a suite: names, options and what must fit together, all mistakes at once.

It works on the parsed tree, not on a valid `Suite`, so that a wrong type in one place does not
hide an unknown name in another.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from bench.attacks import base as attacks
from bench.data import catalog
from bench.data.table import FORMATS
from bench.errors import BenchError, did_you_mean
from bench.measures import base as measures
from bench.models import backbones, stages
from bench.plan.attacks import check_limits
from bench.plan.cell import weights_path
from bench.plan.check_claims import CheckedClaims, ClaimsCheck
from bench.plan.check_overrides import check_only, check_overrides
from bench.plan.check_tune import check_tune
from bench.plan.gate import check_gate
from bench.plan.refusals import import_plugin, refusal, scheme_hint
from bench.plan.tuning import TITLE
from bench.suite.claims import ClaimKeys
from bench.suite.load import find, load, shape_problems, validated
from bench.suite.schema import (
    AttackRef,
    BackboneRef,
    DatasetRef,
    MeasureRef,
    Override,
    Suite,
    Variant,
)
from bench.suite.words import shown
from bench.suite.yaml_tree import Problem, Step, SuiteError, Tree

M = TypeVar("M", bound=BaseModel)
Placed = list[tuple[int, M]]
Where = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class CheckedSuite:
    """A suite without mistakes: the model, its text, the folder that paths in it start from, the
    place of each backbone (`file:line: backbones[0]`), its claims, and a sentence on each of
    these with entries that fit nothing in it."""

    suite: Suite
    text: str
    base: Path
    places: tuple[str, ...]
    claims: tuple[ClaimKeys, ...] = ()
    unfit: tuple[str, ...] = ()


def read_suite(name: str) -> CheckedSuite:
    """Read the suite that the command line names (a path or a shipped suite's name).

    Raises:
        SuiteError: with all mistakes. BenchError: no such file.
    """
    path = find(name)
    return _checked(*load(path), path.resolve().parent)


def read_text(text: str, where: str, base: Path) -> CheckedSuite:
    """Read a suite from its text, which `where` names in problems; paths in it start at `base`.

    Raises:
        SuiteError: with all mistakes.
    """
    return read_tree(Tree(where, text), base)


def read_tree(tree: Tree, base: Path) -> CheckedSuite:
    """As `read_text`, of a suite that is parsed already.

    Raises:
        SuiteError: with all mistakes.
    """
    return _checked(*validated(tree), base)


def _checked(tree: Tree, suite: Suite | None, problems: list[Problem], base: Path) -> CheckedSuite:
    claims = CheckedClaims()
    if isinstance(tree.data, dict):
        checker = _Checker(tree, base)
        claims = checker.claims()
        problems = [*problems, *claims.problems, *checker.problems()]
    if problems or suite is None:
        raise SuiteError(list(dict.fromkeys(problems)))
    backbones = range(len(suite.backbones))
    places = tuple(tree.problem(("backbones", index), "").place for index in backbones)
    return CheckedSuite(suite, tree.text, base, places, claims.claims, claims.unfit)


class _Checker:
    """Collects the problems of one tree; items of a wrong shape are left to the schema."""

    def __init__(self, tree: Tree, base: Path) -> None:
        self.tree, self.base = tree, base
        self.data: dict[str, Any] = tree.data if isinstance(tree.data, dict) else {}
        self.datasets = self._items("datasets", DatasetRef)
        self.backbones = self._items("backbones", BackboneRef)
        self.measures = self._items("measures", MeasureRef)
        self.overrides = self._items("overrides", Override)
        self.variants = [v for v in self._list("variants", ["bu"]) if v in get_args(Variant)]

    def _list(self, key: str, default: list[Any] | None = None) -> list[Any]:
        raw = self.data.get(key, default)
        return raw if isinstance(raw, list) else []

    def _items(self, key: str, model: type[M]) -> Placed[M]:
        found: Placed[M] = []
        for index, item in enumerate(self._list(key)):
            try:
                found.append((index, model.model_validate(item)))
            except ValidationError:
                continue
        return found

    def problems(self) -> Iterator[Problem]:
        """Yield every problem."""
        for index, dataset in self.datasets:
            yield from self._check_dataset(("datasets", index), dataset)
        for index, backbone in self.backbones:
            yield from self._check_backbone(("backbones", index), backbone)
        for index, measure in self.measures:
            yield from self._check_measure(("measures", index), measure)
        yield from self._check_twins()
        nets, complete = [*self._combinations()], self._are_complete()
        yield from check_only(self.tree, nets, self.measures)
        if complete:
            labels = [dataset.label for _, dataset in self.datasets]
            yield from check_limits(self.tree, labels, self.measures)
        yield from check_overrides(self.tree, nets, self.overrides, complete)
        trained = self._combinations(trained=True) if complete else ()
        yield from check_tune(self.tree, trained, self.overrides)
        refs = [ref for _, ref in self.measures]
        yield from check_gate(self.tree, nets, refs)

    def claims(self) -> CheckedClaims:
        """The suite's claims, checked against what it has, as far as that can be read."""
        nets = [*self._combinations()] if self._are_complete() else []
        known = len(self.measures) == len(self._list("measures"))
        measures = [ref for _, ref in self.measures] if known else []
        refs = [ref for _, ref in self.backbones], measures
        return ClaimsCheck(self.tree, self.base, nets, *refs)()

    def _named(self, where: Where) -> Where:
        """The place of a reference's name: the item itself, or its key `name`."""
        return (*where, "name") if isinstance(self._at(where), dict) else where

    def _at(self, where: Where) -> object:
        item: Any = self.data
        for step in where:
            item = item[step]
        return item

    def _check_dataset(self, where: Where, ref: DatasetRef) -> Iterator[Problem]:
        own = catalog.validate(ref.name, {}, self.base)
        if not own and ref.name.partition(":")[0] not in FORMATS:
            own = refusal(lambda: import_plugin(catalog.REGISTRY, ref.name))
        if own:
            yield self.tree.problem(self._named(where), own + scheme_hint(ref.name))
        for key, value in ref.options.items():
            reason = catalog.validate(ref.name, {key: value}, self.base)
            if reason and reason != own:
                yield self.tree.problem((*where, key), reason)

    def _check_backbone(self, where: Where, ref: BackboneRef) -> Iterator[Problem]:
        reason = refusal(lambda: backbones.require(ref.name))
        if reason:
            yield self.tree.problem(self._named(where), reason)
        else:
            yield from self._check_network_options(where, ref)
            refused = backbones.refusal(ref.name, ref.variants or self.variants, ref.options)
            if refused:
                yield self.tree.problem(self._named(where), refused)
        labels = [dataset.label for _, dataset in self.datasets]
        if len(labels) == len(self._list("datasets")):
            for number, label in enumerate(ref.datasets or ()):
                if label not in labels:
                    text = f"no data set '{label}' in this suite{did_you_mean(label, labels)}"
                    yield self.tree.problem((*where, "datasets", number), text)
        seeds = self._list("seeds")
        for number, seed in enumerate(ref.seeds or ()):
            if seed not in seeds:
                text = f"{seed} is none of this suite's seeds"
                yield self.tree.problem((*where, "seeds", number), text)
        yield from self._check_weights(where, ref)

    def _check_network_options(self, where: Where, ref: BackboneRef) -> Iterator[Problem]:
        others = BackboneRef.model_fields.keys() - {"options"}
        for key, value in ref.options.items():
            if key == stages.KEY and backbones.takes_stages(ref.name):
                reason = refusal(lambda value=value: stages.read(value, self.base))  # type: ignore[misc]
            else:
                reason = backbones.wrong_option(ref.name, key, value, others)
            if reason:
                yield self.tree.problem((*where, key), reason)

    def _check_weights(self, where: Where, ref: BackboneRef) -> Iterator[Problem]:
        if ref.weights is None:
            return
        where = (*where, "weights")
        seeds = self._list("seeds")
        if seeds and len(ref.weights) not in (1, len(seeds)):
            text = f"{len(ref.weights)} files for {len(seeds)} seeds; give one, or one a seed"
            yield self.tree.problem(where, text)
        if len(ref.variants or self.variants) > 1:
            yield self.tree.problem(
                where, "weights fit one variant; name just that in the `variants` of this backbone"
            )
        for number, name in enumerate(ref.weights):
            path = weights_path(name, self.base)
            if not os.path.isfile(path):
                folder = os.path.isdir(path)
                text = f"{path} is a folder, not a file" if folder else f"no weights file {path}"
                listed = isinstance(self._at(where), list)
                yield self.tree.problem((*where, number) if listed else where, text)

    def _check_measure(self, where: Where, ref: MeasureRef) -> Iterator[Problem]:
        try:
            measure = measures.load(ref.name)
        except BenchError as error:
            yield self.tree.problem(where, str(error))
            return
        inside = (*where, ref.name)
        try:
            options = measure.options.model_validate(ref.options)
        except ValidationError as error:
            yield from shape_problems(self.tree, inside, error, measure.options)
            options = None
        yield from self._check_attacks((*inside, "attacks"), ref.options.get("attacks"))
        if options is not None and not ref.options.get("attacks"):
            reason = refusal(lambda: measure.items(options))
            if reason:
                yield self.tree.problem(inside, reason)

    def _check_attacks(self, where: Where, raw: object) -> Iterator[Problem]:
        labels: list[tuple[Where, str]] = []
        for index, item in enumerate(raw if isinstance(raw, list) else []):
            try:
                ref = AttackRef.model_validate(item)
            except ValidationError:
                continue
            place = (*where, index)
            labels.append((place, ref.label))
            yield from self._check_attack(place, ref)
        yield from self._twins(labels, "; give one of them a label")

    def _check_attack(self, where: Where, ref: AttackRef) -> Iterator[Problem]:
        try:
            attack = attacks.load(ref.name)
        except BenchError as error:
            yield self.tree.problem(self._named(where), str(error))
            return
        for key in attack.required:
            if key not in ref.options:
                text = f"option '{key}' of attack '{ref.name}' is missing; it has no default"
                yield self.tree.problem(self._named(where), text)
        norm = {key: value for key, value in ref.options.items() if key == "norm"}
        if refusal(lambda: attack.options(norm)):
            norm = {}
        for key, value in ref.options.items():
            if key in attack.defaults or attack.parse is not None:
                # One by one, to say where; what strengths may be depends on the norm.
                given = {**norm, key: value}
                reason = refusal(lambda given=given: attack.options(given))  # type: ignore[misc]
            else:
                near = did_you_mean(key, [*attack.defaults, "label"])
                reason = f"unknown option '{key}'{near}"
            if reason:
                yield self.tree.problem((*where, key), reason)

    def _check_twins(self) -> Iterator[Problem]:
        for key in ("seeds", "variants"):
            plain = [(i, v) for i, v in enumerate(self._list(key)) if type(v) in (int, str)]
            yield from self._twins([((key, index), value) for index, value in plain])
        for key, refs in (("datasets", self.datasets), ("backbones", self.backbones)):
            labels = [((key, index), ref.label) for index, ref in refs]
            yield from self._twins(labels, "; give one of them a label")
        titles: list[tuple[Where, str]] = [((), "train"), ((), TITLE)]
        for index, ref in self.measures:
            try:
                titles.append((("measures", index), measures.load(ref.name).name))
            except BenchError:
                continue
        yield from self._twins(titles)

    def _twins(self, names: Iterable[tuple[Where, object]], hint: str = "") -> Iterator[Problem]:
        seen: set[object] = set()
        for where, name in names:
            if name in seen:
                yield self.tree.problem(where, f"{shown(name)} is there twice{hint}")
            seen.add(name)

    def _are_complete(self) -> bool:
        """Whether all data sets and backbones have a shape that can be read."""
        lists = (("datasets", self.datasets), ("backbones", self.backbones))
        return all(len(found) == len(self._list(key)) for key, found in lists)

    def _combinations(self, trained: bool = False) -> Iterator[str]:
        """`dataset/backbone/variant`; those that are `trained` here alone, or all."""
        for _, dataset in self.datasets:
            for _, backbone in self.backbones:
                if trained and backbone.weights is not None:
                    continue
                if backbone.datasets is None or dataset.label in backbone.datasets:
                    for variant in backbone.variants or self.variants:
                        yield f"{dataset.label}/{backbone.label}/{variant}"
