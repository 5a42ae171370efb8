"""Options of library attacks, read from the signature of their class."""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

from bench.attacks.base import Attack
from bench.attacks.capabilities import GRIDS, RANDOM_WHEN, Capability
from bench.attacks.values import is_number, positive, strengths, within_range
from bench.errors import BenchError

Kind = Literal["bool", "int", "float", "word", "pair"]
Parse = Callable[[Mapping[str, Any]], dict[str, Any]]

_KINDS: Mapping[type, Kind] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "word",
    tuple: "pair",
}
# Lengths of steps: one back leads away from what is looked for, and one of 0 nowhere.
_STEPS = {
    "abs_stepsize", "alpha", "initial_stepsize", "lr", "max_stepsize", "min_stepsize",
    "rel_stepsize", "source_step", "spherical_step", "stepsize",
}  # fmt: skip
_WANTED = {
    "bool": "true or false",
    "int": "a positive whole number",
    "float": "a number",
    "word": "a word",
    "pair": "a list of two positive numbers",
}


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its default, what it takes, whether it may be null, and the words it may be."""

    default: Any
    kind: Kind
    optional: bool = False
    choices: tuple[str, ...] = ()

    def read(self, name: str, value: Any) -> Any:
        """The value as the library wants it.

        Raises:
            BenchError: it is none.
        """
        if value is None and self.optional:
            return None
        number = is_number(value)
        if self.choices:
            return value if value in self.choices else self._refuse(name, value)
        if self.kind == "bool" and isinstance(value, bool):
            return value
        if self.kind == "int" and number and isinstance(value, int) and value > 0:
            return value
        if self.kind == "float" and number and math.isfinite(value):
            if name in _STEPS and value <= 0:
                raise BenchError(f"option '{name}' must be a positive number, not {value!r}")
            return float(value)
        if self.kind == "word" and isinstance(value, str):
            return value
        if self.kind == "pair" and isinstance(value, list | tuple) and len(value) == 2:
            return tuple(value) if all(map(positive, value)) else self._refuse(name, value)
        return self._refuse(name, value)

    def _refuse(self, name: str, value: Any) -> NoReturn:
        what = f"one of {', '.join(self.choices)}" if self.choices else _WANTED[self.kind]
        raise BenchError(f"option '{name}' must be {what}, not {value!r}")


def from_signature(
    cls: type,
    hidden: Collection[str] = (),
    words: Mapping[str, tuple[str, ...]] | None = None,
    floats: Collection[str] = (),
    needed: Mapping[str, Any] | None = None,
) -> dict[str, Option]:
    """The options that a class's `__init__` takes and a suite can say.

    Args:
        cls: the attack's class.
        hidden: parameters that the adapter sets.
        words: what a word may be, where the signature does not say.
        floats: parameters whose whole default stands for a real number.
        needed: defaults for parameters that have none.
    """
    found = {}
    init = cls.__init__  # type: ignore[misc]
    hints = typing.get_type_hints(init)
    for name, parameter in list(inspect.signature(init).parameters.items())[1:]:
        if name in hidden or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = (needed or {}).get(name, parameter.default)
        option = _option(default, hints.get(name, type(default)))
        if option is None:
            continue
        if words and name in words:
            option = replace(option, choices=words[name])
        if name in floats and option.kind == "int":
            option = replace(option, kind="float", default=float(default))
        if option.kind == "float" and isinstance(default, int):
            option = replace(option, default=float(default))
        found[name] = option
    return found


def _option(default: Any, hint: Any) -> Option | None:
    """None for a type that a suite cannot say."""
    parts = list(typing.get_args(hint)) if _is_union(hint) else [hint]
    optional = type(None) in parts
    parts = [part for part in parts if part is not type(None)]
    if parts and all(typing.get_origin(part) is Literal for part in parts):
        choices = tuple(word for part in parts for word in typing.get_args(part))
        return Option(default, "word", optional, choices)
    kind = _KINDS.get(typing.get_origin(parts[0]) or parts[0]) if len(parts) == 1 else None
    return Option(default, kind, optional) if kind else None


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def declare(run: Callable[..., Any], what: Capability, options: Mapping[str, Option]) -> Attack:
    """The declaration of a library's class: `run(problem, epsilon=..., **options)`."""
    options = {**options, "one_by_one": Option(False, "bool")}
    parse = parser(options, what)
    return Attack(
        run,
        deterministic=what.deterministic,
        typical=what.evaluations,
        defaults=parse({}),
        norm=what.norm,
        access=what.access,
        channels=what.channels,
        classes=what.classes,
        strength="epsilon" if what.strength else "",
        batch_dependent=True,
        random_when={k: v for k, v in RANDOM_WHEN.items() if k in options} if what.optional else {},
        parse=parse,
    )


def parser(options: Mapping[str, Option], what: Capability) -> Parse:
    """A function that completes and checks the options of an attack in a suite.

    Besides `options` there is, for attacks of a fixed strength, `epsilons`: positive numbers, or
    words like "8/255"; an L-infinity norm cannot exceed 1, the range of the images. A default grid
    follows the option `norm`.
    """

    def parse(given: Mapping[str, Any]) -> dict[str, Any]:
        read = {name: option.default for name, option in options.items()}
        for name, value in given.items():
            if name == "epsilons" and what.strength:
                # In rising order.
                read[name] = tuple(sorted(map(float, strengths(value))))
            elif name in options:
                read[name] = options[name].read(name, value)
            else:
                raise BenchError(_unknown(name, options, what))
        if what.strength and "epsilons" not in read:
            read["epsilons"] = GRIDS[read["norm"]] if "norm" in read else what.epsilons
        if what.strength == "pixels" and not all(map(float.is_integer, read["epsilons"])):
            raise BenchError(
                "option 'epsilons' must be whole numbers of pixels, such as [1, 4], not "
                f"{given['epsilons']!r}"
            )
        if what.strength not in ("", *GRIDS) and read.get("norm", what.norm) == "Linf":
            within_range(read["epsilons"])
        return read

    return parse


def _unknown(name: str, options: Mapping[str, Option], what: Capability) -> str:
    if name == "epsilons":
        return "unknown option 'epsilons': this attack looks for the smallest perturbation itself"
    if name == what.strength:
        return f"unknown option '{name}': say `epsilons: [...]`, one or more of them"
    if name == "seed":
        return "unknown option 'seed': it follows the network's seed, the repeat and the images"
    known = sorted([*options, "epsilons"] if what.strength else options)
    return f"unknown option '{name}'; known: {', '.join(known)}"
