"""The second look at a suite: names, options and what must fit together, all mistakes at once.

It works on the parsed tree, not on a valid `Suite`, so that a wrong type in one place does not
hide an unknown name in another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bench.attacks import base as attacks
from bench.data import catalog
from bench.errors import BenchError, did_you_mean
from bench.measures import base as measures
from bench.models import backbones
from bench.suite.load import find, load, shape_problems
from bench.suite.schema import AttackRef, BackboneRef, DatasetRef, MeasureRef, Override, Suite
from bench.suite.yaml_tree import Problem, SuiteError, Tree

M = TypeVar("M", bound=BaseModel)
Placed = list[tuple[int, M]]


@dataclass(frozen=True, slots=True)
class CheckedSuite:
    """A suite without mistakes: the model, its text, and the folder that paths in it start from."""

    suite: Suite
    text: str
    base: Path


def read_suite(name: str) -> CheckedSuite:
    """Read the suite that the command line names (a path or a shipped suite's name).

    Raises:
        SuiteError: with all mistakes. BenchError: no such file.
    """
    path = find(name)
    tree, suite, problems = load(path)
    base = path.resolve().parent
    if isinstance(tree.data, dict):
        problems = problems + list(_Checker(tree, base).problems())
    if problems or suite is None:
        raise SuiteError(list(dict.fromkeys(problems)))
    return CheckedSuite(suite, tree.text, base)


class _Checker:
    """Collects the problems of one tree; items of a wrong shape are left to the schema."""

    def __init__(self, tree: Tree, base: Path) -> None:
        self.tree, self.base = tree, base
        self.data: dict[str, Any] = tree.data if isinstance(tree.data, dict) else {}
        self.datasets = self._items("datasets", DatasetRef)
        self.backbones = self._items("backbones", BackboneRef)
        self.measures = self._items("measures", MeasureRef)
        self.overrides = self._items("overrides", Override)

    def _items(self, key: str, model: type[M]) -> Placed[M]:
        found: Placed[M] = []
        raw = self.data.get(key)
        for index, item in enumerate(raw if isinstance(raw, list) else []):
            try:
                found.append((index, model.model_validate(item)))
            except ValidationError:
                continue
        return found

    def problems(self) -> Iterator[Problem]:
        """Yield every problem."""
        for index, dataset in self.datasets:
            reason = catalog.validate(dataset.name, dataset.options, self.base)
            if reason:
                yield self.tree.problem(("datasets", index), reason)
        yield from self._check_backbones()
        for index, measure in self.measures:
            yield from self._check_measure(index, measure)
        yield from self._check_overrides()

    def _check_backbones(self) -> Iterator[Problem]:
        labels = [dataset.label for _, dataset in self.datasets]
        complete = len(labels) == len(self.data.get("datasets") or ())
        for index, backbone in self.backbones:
            where = ("backbones", index)
            reason = _refusal(lambda ref=backbone: _importable(ref))  # type: ignore[misc]
            if reason:
                yield self.tree.problem(where, reason)
            else:
                yield from self._check_variants(index, backbone)
            for number, label in enumerate(backbone.datasets or ()):
                if complete and label not in labels:
                    text = f"no data set '{label}' in this suite{did_you_mean(label, labels)}"
                    yield self.tree.problem((*where, "datasets", number), text)
            yield from self._check_weights(index, backbone)

    def _check_variants(self, index: int, backbone: BackboneRef) -> Iterator[Problem]:
        variants = self.data.get("variants", ["bu"])
        for variant in variants if isinstance(variants, list) else ():
            if variant in ("bu", "td", "td_uni", "td_rev"):
                reason = backbones.unsupported(backbone.name, variant)
                if reason:
                    yield self.tree.problem(("backbones", index), reason)

    def _check_weights(self, index: int, backbone: BackboneRef) -> Iterator[Problem]:
        if backbone.weights is None:
            return
        where = ("backbones", index, "weights")
        seeds, variants = self.data.get("seeds"), self.data.get("variants", ["bu"])
        if isinstance(seeds, list) and len(backbone.weights) not in (1, len(seeds)):
            text = f"{len(backbone.weights)} files for {len(seeds)} seeds; give one, or one a seed"
            yield self.tree.problem(where, text)
        if isinstance(variants, list) and len(variants) > 1:
            yield self.tree.problem(where, "weights fit one variant; name just that in `variants`")
        for number, name in enumerate(backbone.weights):
            path = self.base / Path(name).expanduser()
            if not path.is_file():
                step = (*where, number) if isinstance(self._raw_weights(index), list) else where
                yield self.tree.problem(step, f"no such weights file: {path}")

    def _raw_weights(self, index: int) -> object:
        return self.data["backbones"][index].get("weights")

    def _check_measure(self, index: int, ref: MeasureRef) -> Iterator[Problem]:
        where = ("measures", index)
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
        yield from self._check_attacks(inside, ref.options.get("attacks"))
        if options is not None and not ref.options.get("attacks"):
            reason = _refusal(lambda: measure.items(options))
            if reason:
                yield self.tree.problem(inside, reason)

    def _check_attacks(self, where: tuple[str | int, ...], raw: object) -> Iterator[Problem]:
        seen: set[str] = set()
        for index, item in enumerate(raw if isinstance(raw, list) else []):
            try:
                ref = AttackRef.model_validate(item)
            except ValidationError:
                continue
            place = (*where, "attacks", index)
            reason = _refusal(lambda ref=ref: attacks.key(ref.name, ref.options))  # type: ignore[misc]
            if reason:
                yield self.tree.problem(place, reason)
            if ref.label in seen:
                text = f"'{ref.label}' is there twice; give one of them a label"
                yield self.tree.problem(place, text)
            seen.add(ref.label)

    def _check_overrides(self) -> Iterator[Problem]:
        recipe = self.data.get("recipe")
        base = _recipe(recipe) if recipe is not None else _recipe({})
        for index, override in self.overrides:
            if not any(fnmatchcase(name, override.match) for name in self._combinations()):
                text = f"'{override.match}' fits no dataset/backbone/variant of this suite"
                yield self.tree.problem(("overrides", index, "match"), text)
            if base is not None:
                try:
                    base.overridden(override.recipe)
                except ValidationError as error:
                    text = str(error.errors()[0]["msg"])
                    yield self.tree.problem(("overrides", index, "recipe"), text)

    def _combinations(self) -> Iterator[str]:
        raw = self.data.get("variants", ["bu"])
        for _, dataset in self.datasets:
            for _, backbone in self.backbones:
                for variant in raw if isinstance(raw, list) else ():
                    yield f"{dataset.label}/{backbone.label}/{variant}"


def _recipe(raw: object) -> Any:
    from bench.suite.recipe import Recipe

    try:
        return Recipe.model_validate(raw)
    except ValidationError:
        return None


def _importable(backbone: BackboneRef) -> None:
    """Import a third-party backbone, so that a typing mistake shows before anything is trained."""
    entry = backbones.REGISTRY.find(backbone.name)
    if entry.source != "built in":
        backbones.REGISTRY.load(backbone.name)


def _refusal(action: Callable[[], object]) -> str | None:
    """The message of the BenchError that `action` raises, or None."""
    try:
        action()
    except BenchError as error:
        return str(error)
    return None
