"""The claims that a suite puts to the test: a list, or a file that several suites share."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
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


def read_claims(tree: Tree, base: Path) -> tuple[tuple[ClaimKeys, ...], list[Problem]]:
    """The claims of a suite and what is wrong with them; paths start at `base`."""
    said = tree.data.get(KEY) if isinstance(tree.data, dict) else None
    if said is None:
        return (), []
    if isinstance(said, str):
        try:
            return _validated(read(base / said))
        except SuiteError as error:
            return (), list(error.problems)
        except BenchError as error:
            return (), [tree.problem((KEY,), str(error))]
    if not isinstance(said, list):
        text = f"must be a list of claims or the name of a file of them, not {shown(said)}"
        return (), [tree.problem((KEY,), text)]
    try:
        found = ClaimsFile.model_validate({KEY: said})
    except ValidationError as error:
        return (), list(shape_problems(tree, (), error, ClaimKeys))
    return found.claims, []


def _validated(tree: Tree) -> tuple[tuple[ClaimKeys, ...], list[Problem]]:
    problems = list(tree.problems)
    if not isinstance(tree.data, dict):
        return (), [*problems, tree.problem((), f"must be a mapping with the key `{KEY}:`")]
    try:
        return ClaimsFile.model_validate(tree.data).claims, problems
    except ValidationError as error:
        model = ClaimKeys if KEY in tree.data else ClaimsFile
        return (), problems + list(shape_problems(tree, (), error, model))


def misfits(tree: Tree, pairs: list[str], measures: list[str]) -> Iterator[Problem]:
    """What the suite's own list of claims names and the suite does not have: networks
    (`dataset/backbone/variant`) and measures. A shared file may be about more than one suite has.
    """
    said = tree.data.get(KEY) if isinstance(tree.data, dict) else None
    for index, raw in enumerate(said if isinstance(said, list) else []):
        try:
            claim = ClaimKeys.model_validate(raw)
        except ValidationError:
            continue
        for pattern in claim.nets:
            if pairs and not any(fnmatchcase(pair, pattern) for pair in pairs):
                text = f"'{pattern}' fits no dataset/backbone/variant, such as '{pairs[0]}'"
                yield tree.problem((KEY, index, "nets"), text)
        for pattern in claim.numbers:
            measure = pattern.rpartition("/")[0]
            if measures and not any(fnmatchcase(name, measure) for name in measures):
                known = ", ".join(measures)
                text = f"'{pattern}' is of no measure of this suite; it has {known}"
                yield tree.problem((KEY, index, "numbers"), text)
