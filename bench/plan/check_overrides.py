"""Whether globs over a suite's networks fit any, and whether overrides give recipes that hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from pydantic import ValidationError

from bench.suite.load import shape_problems
from bench.suite.recipe import Recipe
from bench.suite.schema import MeasureRef, Override
from bench.suite.yaml_tree import Problem, Tree

_NOWHERE = "fits no dataset/backbone/variant of this suite, such as"


def check_only(
    tree: Tree, pairs: Sequence[str], measures: Iterable[tuple[int, MeasureRef]]
) -> Iterator[Problem]:
    """Yield the problems of the measures' `only`; `pairs` are the networks as far as known."""
    for index, measure in measures:
        for pattern in measure.only:
            if pairs and not any(fnmatchcase(pair, pattern) for pair in pairs):
                text = f"`only: {pattern}` {_NOWHERE} '{pairs[0]}'"
                yield tree.problem(("measures", index, measure.name, "only"), text)


def check_overrides(
    tree: Tree, pairs: Sequence[str], overrides: Sequence[tuple[int, Override]], complete: bool
) -> Iterator[Problem]:
    """Yield the problems of overrides; `complete` says whether all networks are known."""
    for index, override in overrides:
        if pairs and complete and not any(fnmatchcase(pair, override.match) for pair in pairs):
            text = f"'{override.match}' {_NOWHERE} '{pairs[0]}'"
            yield tree.problem(("overrides", index, "match"), text)
    suite = tree.data if isinstance(tree.data, dict) else {}
    try:
        base = Recipe.model_validate(suite.get("recipe", {}))
    except ValidationError:
        return
    for pair in pairs or [""]:
        yield from _check_recipe(tree, base, pair, overrides)


def _check_recipe(
    tree: Tree, recipe: Recipe, pair: str, overrides: Iterable[tuple[int, Override]]
) -> Iterator[Problem]:
    """Apply the overrides of one combination in turn, as `expand` will."""
    for index, override in overrides:
        if fnmatchcase(pair, override.match):
            try:
                recipe = recipe.overridden(override.recipe)
            except ValidationError as error:
                where = ("overrides", index, "recipe")
                yield from shape_problems(tree, where, error, Recipe)
                return
