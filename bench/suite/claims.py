"""The claims that a suite puts to the test: a list, or a file that several suites share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from bench.errors import BenchError, did_you_mean
from bench.suite.load import shape_problems
from bench.suite.recipe import Number, Strict
from bench.suite.schema import Variant
from bench.suite.words import shown
from bench.suite.yaml_tree import Problem, SuiteError, Tree, read
from leaderboard.results import Expect

KEY = "claims"


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_several)]
VARIANTS: tuple[str, ...] = get_args(Variant)


def _rival(value: str) -> str:
    backbone, slash, variant = value.rpartition("/")
    if variant not in VARIANTS or bool(backbone) != bool(slash):
        known = ", ".join(VARIANTS)
        text = f"{shown(value)} is not one of {known}, nor backbone/variant such as 'resnet18/bu'"
        near = did_you_mean(variant, VARIANTS)
        raise ValueError(text + near.partition("; known")[0])
    return value


Rivals = Annotated[tuple[Annotated[str, AfterValidator(_rival)], ...], BeforeValidator(_several)]


class ClaimKeys(Strict):
    """One claim; `leaderboard.claims` says what the keys mean.

    `numbers`, `nets`, `against` and `inputs` take one text or a list. An entry of `against` is a
    variant (`bu`) or `backbone/variant` (`resnet18/bu`).
    """

    claim: Annotated[str, Field(min_length=1)]
    numbers: Annotated[Texts, Field(min_length=1)]
    expect: Expect
    nets: Annotated[Texts, Field(min_length=1)] = ("*",)
    against: Annotated[Rivals, Field(min_length=1)] = ("bu",)
    margin: Annotated[Number, Field(ge=0)] = 0.0
    inputs: Texts = ()
    source: str = ""

    @model_validator(mode="after")
    def _inputs(self) -> ClaimKeys:
        if (self.expect == "weakest input") != bool(self.inputs):
            raise ValueError(
                "`inputs: [high]` (or medium, low) and `expect: weakest input` belong together"
            )
        return self


class ClaimsFile(Strict):
    """A file of claims."""

    claims: tuple[ClaimKeys, ...]


Read = tuple[tuple[ClaimKeys, ...], list[Problem], Tree]


def read_claims(tree: Tree, base: Path) -> Read:
    """The claims of a suite, what is wrong with them, and the file that they are in: the suite
    itself or the one that it names. Paths start at `base`."""
    said = tree.data.get(KEY) if isinstance(tree.data, dict) else None
    if said is None:
        return (), [], tree
    if isinstance(said, str):
        try:
            return _validated(read(base / said))
        except SuiteError as error:
            return (), list(error.problems), tree
        except BenchError as error:
            return (), [tree.problem((KEY,), str(error))], tree
    if not isinstance(said, list):
        text = f"must be a list of claims or the name of a file of them, not {shown(said)}"
        return (), [tree.problem((KEY,), text)], tree
    try:
        found = ClaimsFile.model_validate({KEY: said})
    except ValidationError as error:
        return (), list(shape_problems(tree, (), error, ClaimKeys)), tree
    return found.claims, [], tree


def _validated(tree: Tree) -> Read:
    problems = list(tree.problems)
    if not isinstance(tree.data, dict):
        text = f"must be a mapping with the key `{KEY}:`"
        return (), [*problems, tree.problem((), text)], tree
    try:
        return ClaimsFile.model_validate(tree.data).claims, problems, tree
    except ValidationError as error:
        model = ClaimKeys if KEY in tree.data else ClaimsFile
        return (), problems + list(shape_problems(tree, (), error, model)), tree


def each_claim(tree: Tree) -> Iterator[tuple[int, ClaimKeys]]:
    """The claims of a list, with their places; those of a wrong shape are left out."""
    said = tree.data.get(KEY) if isinstance(tree.data, dict) else None
    for index, raw in enumerate(said if isinstance(said, list) else []):
        try:
            yield index, ClaimKeys.model_validate(raw)
        except ValidationError:
            continue
