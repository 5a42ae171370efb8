"""What `tune:` searches: lists and ranges of recipe values, and the candidates made of them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from pydantic import ValidationError

from bench.errors import did_you_mean
from bench.suite.load import described
from bench.suite.recipe import Recipe, RecipeKeys
from bench.suite.schema import MOST_TRIALS, Tune
from bench.suite.words import shown
from bench.suite.yaml_tree import Step

RANGES = ("uniform", "log_uniform")
# These are no single values, or belong to what all trials have in common.
_FIXED = {
    "augment": "it is a mapping, not a value",
    "validation": "it holds out what trials are judged by",
}
SEARCHED = [key for key in RecipeKeys.model_fields if key not in _FIXED]
# Digits of a drawn number: enough for a search, and few enough for the name of a trial.
DIGITS = 3
# The outer tenth of a range, on its own scale, counts as its edge.
EDGE = 0.1

Values = Mapping[str, Any]
# Keys below `values` and what is wrong there.
Wrong = tuple[tuple[Step, ...], str]


@dataclass(frozen=True, slots=True)
class Listed:
    """Values in the order of the suite."""

    values: tuple[Any, ...]

    def draw(self, share: float) -> Any:
        """The value at `share` (0..1) of the list."""
        return self.values[int(share * len(self.values))]

    def edge(self, value: Any, tried: Sequence[Any]) -> str:
        """`lowest` or `highest` if the values have an order and this is the end of those `tried`,
        else nothing. 0 is no end that a search could go beyond: no recipe value is negative."""
        return _end(value, tried) if all(map(_is_number, self.values)) else ""

    def __str__(self) -> str:
        return ", ".join(map(value_text, self.values))


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included; `whole` ones only; `log`: their logarithm is
    drawn evenly."""

    low: float
    high: float
    log: bool
    whole: bool

    def draw(self, share: float) -> Any:
        """The number at `share` (0..1) of the range, with `DIGITS` digits."""
        if self.whole and not self.log:
            return int(self.low) + int(share * (self.high - self.low + 1))
        low, high = self._scale(self.low), self._scale(self.high)
        place = low + share * (high - low)
        number = math.exp(place) if self.log else place
        rounded = round(number) if self.whole else float(f"{number:.{DIGITS}g}")
        return min(max(rounded, self.low), self.high)

    def edge(self, value: Any, tried: Sequence[Any]) -> str:
        """As for `Listed`; what lies in the outer tenth of the range is at its end too, unless that
        is the tenth next to 0."""
        low, high = self._scale(self.low), self._scale(self.high)
        share = (self._scale(value) - low) / (high - low)
        if share >= 1 - EDGE:
            return "highest"
        if share <= EDGE and self.low > 0:
            return "lowest"
        found = _end(value, tried)
        return "" if found == "lowest" and share <= EDGE else found

    def _scale(self, number: float) -> float:
        return math.log(number) if self.log else number

    def __str__(self) -> str:
        scale = ", logarithmic" if self.log else ""
        return f"{value_text(self.low)} to {value_text(self.high)}{scale}"


Axis = Listed | Range


def axes(values: Values) -> tuple[dict[str, Axis], list[Wrong]]:
    """Read the `values` of a suite: what is searched by recipe key, and all that is wrong."""
    found: dict[str, Axis] = {}
    wrong: list[Wrong] = []
    for key, given in values.items():
        if key in _FIXED:
            wrong.append(((key,), f"cannot be searched: {_FIXED[key]}"))
        elif key not in SEARCHED:
            wrong.append(((key,), f"unknown key '{key}'{did_you_mean(key, SEARCHED)}"))
        else:
            axis, problems = _axis(key, given)
            wrong += [((key, *steps), text) for steps, text in problems]
            if axis is not None and not problems:
                found[key] = axis
    return found, wrong


def _axis(key: str, given: Any) -> tuple[Axis | None, list[Wrong]]:
    if isinstance(given, list):
        if not given:
            return None, [((), "is empty; name at least one value")]
        values, wrong = _read(key, given)
        for number, value in enumerate(values if not wrong else ()):
            if value in values[:number]:
                wrong.append(((number,), f"{shown(value)} is there twice"))
        return Listed(tuple(values)), wrong
    if not isinstance(given, dict):
        text = f"must be a list, as in [0.1, 0.05], or a range, not {shown(given)}"
        return None, [((), text)]
    if len(given) != 1 or next(iter(given)) not in RANGES:
        name = next((name for name in given if name not in RANGES), "")
        near = did_you_mean(str(name), RANGES) if name else ""
        text = "must be one range, {uniform: [a, b]} or {log_uniform: [a, b]}"
        return None, [((), text + near)]
    ((kind, ends),) = given.items()
    return _range(key, kind, ends)


def _range(key: str, kind: str, ends: Any) -> tuple[Axis | None, list[Wrong]]:
    if not isinstance(ends, list) or len(ends) != 2:
        return None, [((kind,), "must be [lowest, highest]")]
    values, wrong = _read(key, ends)
    if wrong:
        return None, [((kind, *steps), text) for steps, text in wrong]
    low, high = values
    if not (_is_number(low) and _is_number(high)):
        return None, [((kind,), f"{key} has no range; list its values")]
    if low >= high:
        return None, [((kind,), f"{shown(low)} is not below {shown(high)}")]
    if kind == "log_uniform" and low <= 0:
        return None, [((kind, 0), f"must be above 0 on a logarithmic scale, not {shown(low)}")]
    return Range(low, high, kind == "log_uniform", isinstance(low, int)), []


def _read(key: str, given: Sequence[Any]) -> tuple[list[Any], list[Wrong]]:
    """Values as a recipe reads them, and what is wrong with which."""
    values, wrong = [], []
    for number, value in enumerate(given):
        try:
            values.append(getattr(RecipeKeys.model_validate({key: value}), key))
        except ValidationError as error:
            (first, *_) = error.errors(include_url=False)
            wrong.append((_place(number), described(first, Recipe)))
    return values, wrong


def _place(number: int) -> tuple[Step, ...]:
    return (number,)


def candidates(tune: Tune, found: Mapping[str, Axis]) -> tuple[dict[str, Any], ...]:
    """What is tried, in order: every combination of a grid, or distinct draws.

    Of a random search with too few combinations all are given that were met, fewer than `trials`;
    of a grid at most one more than `MOST_TRIALS`.
    """
    if tune.search == "grid":
        lists = [axis.values for axis in found.values() if isinstance(axis, Listed)]
        rows = islice(product(*lists), MOST_TRIALS + 1)
        return tuple(dict(zip(found, row, strict=True)) for row in rows)
    return tuple(_draws(found, tune.trials or 0, tune.seed))


def _draws(found: Mapping[str, Axis], trials: int, seed: int) -> Iterator[dict[str, Any]]:
    # `random()` alone gives the same numbers in every version of Python.
    dice = random.Random(seed)  # noqa: S311  (a search, not a secret)
    seen: set[str] = set()
    for _ in range(100 * trials):
        drawn = {key: axis.draw(dice.random()) for key, axis in found.items()}
        text = values_text(drawn)
        if text not in seen:
            seen.add(text)
            yield drawn
        if len(seen) == trials:
            return


def values_text(values: Values, between: str = ",") -> str:
    """`lr=0.1,batch_size=64`."""
    return between.join(f"{key}={value_text(value)}" for key, value in values.items())


def value_text(value: Any) -> str:
    """A value as a suite has it, numbers as short as they can be."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def _end(value: Any, tried: Sequence[Any]) -> str:
    if len(set(tried)) < 2:
        return ""
    if value == max(tried):
        return "highest"
    return "lowest" if value == min(tried) and value > 0 else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
