"""From file to `Suite`, collecting every mistake of shape instead of stopping at the first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.errors import BenchError, did_you_mean
from bench.suite.recipe import Augment, Recipe
from bench.suite.schema import GateThreshold, Override, Suite, Tune
from bench.suite.words import shown
from bench.suite.yaml_tree import Problem, Step, Tree, read


def find(name: str) -> Path:
    """The suite file that a command line means: a path, or the name of a shipped suite.

    Raises:
        BenchError: there is no such file or suite.
    """
    path = Path(name)
    if os.path.isfile(name):
        return path
    shipped = shipped_suites()
    if name in shipped:
        return shipped[name]
    if path.parent == Path("suites") and path.suffix == ".yaml" and path.stem in shipped:
        return shipped[path.stem]
    if os.path.lexists(name):
        return path  # a folder, a pipe, a broken link: reading it tells
    raise BenchError(f"{name}: no such suite file{did_you_mean(name, shipped)}")


def shipped_suites() -> dict[str, Path]:
    """The suites that come with the package, by name."""
    import suites

    folder = Path(next(iter(suites.__path__)))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load(path: Path) -> tuple[Tree, Suite | None, list[Problem]]:
    """Read and validate the shape of a suite, as `validated` does.

    Raises:
        BenchError: the file cannot be read. SuiteError: it is not YAML.
    """
    return validated(read(path))


def validated(tree: Tree) -> tuple[Tree, Suite | None, list[Problem]]:
    """The tree, the suite (None if its shape is wrong) and all problems found."""
    problems = list(tree.problems)
    if not isinstance(tree.data, dict):
        what = "is empty" if tree.data is None else "must be a mapping (name:, seeds:, ...)"
        return tree, None, [*problems, tree.problem((), what)]
    try:
        suite = Suite.model_validate(tree.data)
    except ValidationError as error:
        return tree, None, problems + list(shape_problems(tree, (), error, Suite))
    return tree, (None if problems else suite), problems


def shape_problems(
    tree: Tree, prefix: Sequence[Step], error: ValidationError, model: type[BaseModel]
) -> Iterator[Problem]:
    """Turn pydantic's errors into problems with a line; `prefix` is where `model` starts.

    What stands where YAML itself could not be read has been reported already, and a list whose
    every item is wrong is not empty.
    """
    found = error.errors(include_url=False)
    for item in found:
        path = (*prefix, *item["loc"])
        if not tree.is_unread(path) and not (item["type"] == "too_short" and item["input"]):
            yield tree.problem(path, described(item, model))


def described(item: Any, model: type[BaseModel]) -> str:
    """One of pydantic's errors (`ValidationError.errors()`) on `model` in the words of a suite."""
    kind, context, value = item["type"], item.get("ctx", {}), item["input"]
    if kind == "extra_forbidden":
        unknown = str(item["loc"][-1])
        if unknown in _RENAMED and "recipe" in item["loc"]:
            return f"'{unknown}' is no key any more: write {_RENAMED[unknown]}"
        return f"unknown key '{unknown}'{did_you_mean(unknown, _keys(item['loc'], model))}"
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context.get("error", item["msg"]))
    if kind == "literal_error":
        choices = [part.strip(" '") for part in context["expected"].replace(" or ", ",").split(",")]
        near = did_you_mean(value, choices) if isinstance(value, str) else ""
        return f"{shown(value)} is not one of {', '.join(choices)}{near.partition('; known')[0]}"
    if kind == "too_short":
        return "is empty; name at least one"
    if kind in _MUST_BE:
        return f"must be {_MUST_BE[kind].format(**context)}, not {shown(value)}"
    return f"{item['msg'][:1].lower()}{item['msg'][1:]}, not {shown(value)}"


_RENAMED = {
    "deterministic": "`mode: deterministic` for true, `mode: fast` for false",
}
"""Keys of recipes of earlier versions, and what says the same now."""

_MUST_BE = {
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "greater_than_equal": "at least {ge}",
    "greater_than": "above {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "below {lt}",
}
"""Pydantic's kinds of errors in the words of a suite."""


def _keys(loc: Sequence[Step], model: type[BaseModel]) -> list[str]:
    """The keys allowed where an unknown one stands."""
    owner: type[BaseModel] = model
    inner: dict[str, type[BaseModel]] = {
        "overrides": Override,
        "recipe": Recipe,
        "augment": Augment,
        "gate": GateThreshold,
        "tune": Tune,
    }
    for step in loc[:-1]:
        owner = inner.get(str(step), owner)
    return list(owner.model_fields)
