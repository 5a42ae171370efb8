"""Whether the search of a suite (`tune:`) means something in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pydantic import ValidationError

from bench.plan.tuning import Search
from bench.suite.recipe import Recipe
from bench.suite.schema import MOST_TRIALS, Override, Tune
from bench.suite.search import Axis, Range, axes, candidates, values_text
from bench.suite.yaml_tree import Problem, Tree


@dataclass(frozen=True, slots=True)
class Networks:
    """What a search is for: `dataset/backbone/variant` combinations, the suite's recipe (None: it
    is wrong itself), and its overrides with their places in the list."""

    pairs: Sequence[str]
    recipe: Recipe | None
    overrides: Sequence[tuple[int, Override]]


def check_tune(
    tree: Tree, pairs: Iterable[str], overrides: Iterable[tuple[int, Override]]
) -> Iterator[Problem]:
    """Yield the problems of a search; those of shape are left to the schema.

    Args:
        tree: the suite.
        pairs: its networks that are trained, `dataset/backbone/variant`.
        overrides: with their places in the list.
    """
    raw = tree.data.get("tune") if isinstance(tree.data, dict) else None
    if not isinstance(raw, dict) or not isinstance(raw.get("values"), dict):
        return
    yield from _check(tree, raw, Networks(list(pairs), _base(tree), list(overrides)))


def _base(tree: Tree) -> Recipe | None:
    try:
        return Recipe.model_validate(tree.data.get("recipe", {}))  # type: ignore[attr-defined]
    except ValidationError:
        return None


def _check(tree: Tree, raw: Mapping[str, Any], networks: Networks) -> Iterator[Problem]:
    found, wrong = axes(raw["values"])
    for steps, text in wrong:
        where = ("tune", "values", *steps)
        if not tree.is_unread(where):
            yield tree.problem(where, text)
    if "epochs" in found and raw.get("epochs") is not None:
        yield tree.problem(("tune", "epochs"), "is searched already, by tune.values.epochs")
    ranges = [key for key, axis in found.items() if isinstance(axis, Range)]
    if raw.get("search", "grid") == "grid":
        for key in ranges:
            text = "is a range, which a grid cannot have: list its values, or set search: random"
            yield tree.problem(("tune", "values", key), text)
        if raw.get("trials") is not None:
            text = "is for `search: random`; a grid tries every combination"
            yield tree.problem(("tune", "trials"), text)
    elif raw["search"] == "random" and raw.get("trials") is None:
        yield tree.problem(("tune",), "a random search needs `trials:`, the number of draws")
    fitting = [pair for pair in networks.pairs if _fits(raw, pair)]
    if networks.pairs and not fitting:
        text = (
            f"'{raw['match']}' fits no dataset/backbone/variant of this suite that is trained, "
            f"such as '{networks.pairs[0]}'"
        )
        yield tree.problem(("tune", "match"), text)
    yield from _overridden(tree, found, fitting, networks.overrides)
    yield from _validation(tree, fitting, networks)
    if not wrong:
        yield from _candidates(tree, raw, found, fitting, networks)


def _fits(raw: Mapping[str, Any], pair: str) -> bool:
    match = raw.get("match", "*")
    return not isinstance(match, str) or fnmatchcase(pair, match)


def _overridden(
    tree: Tree,
    found: Mapping[str, Axis],
    pairs: Sequence[str],
    overrides: Sequence[tuple[int, Override]],
) -> Iterator[Problem]:
    """An override of a value that is searched would have no effect."""
    for index, override in overrides:
        pair = next((pair for pair in pairs if fnmatchcase(pair, override.match)), None)
        for key in found if pair is not None else ():
            if key in override.recipe.model_fields_set:
                where = ("overrides", index, "recipe", key)
                yield tree.problem(where, f"is searched by tune.values.{key} for {pair}; drop one")


def _validation(tree: Tree, pairs: Sequence[str], networks: Networks) -> Iterator[Problem]:
    """Trials are judged on what is held out; without it there would only be the test set."""
    if networks.recipe is None:
        return
    text = "is 0, so that tune has nothing to judge its trials by; hold out a part, such as 0.1"
    places: dict[tuple[str | int, ...], None] = {}
    for pair in pairs:
        share = networks.recipe.validation
        where: tuple[str | int, ...] = ("recipe", "validation")
        for index, override in networks.overrides:
            keys = override.recipe.model_fields_set
            if "validation" in keys and fnmatchcase(pair, override.match):
                share = override.recipe.validation
                where = ("overrides", index, "recipe", "validation")
        if share == 0:
            places[where] = None
    for where in places:
        yield tree.problem(where, text)


def _candidates(
    tree: Tree,
    raw: Mapping[str, Any],
    found: Mapping[str, Axis],
    pairs: Sequence[str],
    networks: Networks,
) -> Iterator[Problem]:
    """Their number, and whether each goes with the recipe of every network."""
    try:
        tune = Tune.model_validate(raw)
    except ValidationError:
        return
    if tune.search == "grid" and any(isinstance(axis, Range) for axis in found.values()):
        return
    tried = candidates(tune, found)
    if len(tried) > MOST_TRIALS:
        text = f"makes over {MOST_TRIALS:,} combinations; use search: random with `trials:`"
        yield tree.problem(("tune", "values"), text)
        return
    if tune.search == "random" and len(tried) < (tune.trials or 0):
        text = f"is more than there are different draws ({len(tried)}); lower it, or search a grid"
        yield tree.problem(("tune", "trials"), text)
    search = Search(tune, found, tried)
    for pair in pairs:
        try:
            recipe = _recipe(networks, pair)
        except ValidationError:
            return  # told of the overrides
        if recipe is None:
            return
        for number, values in enumerate(tried):
            try:
                search.recipe(recipe, number)
            except ValidationError as error:
                (first, *_) = error.errors(include_url=False)
                reason = first.get("ctx", {}).get("error", first["msg"])
                text = f"{values_text(values, ', ')} for {pair}: {reason}"
                yield tree.problem(("tune", "values"), text)
                return


def _recipe(networks: Networks, pair: str) -> Recipe | None:
    recipe = networks.recipe
    for _, override in networks.overrides:
        if recipe is not None and fnmatchcase(pair, override.match):
            recipe = recipe.overridden(override.recipe)
    return recipe
