"""What values options of attacks may have: numbers, words, and lists of strengths."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from bench.errors import BenchError


def is_number(value: object) -> bool:
    """Whether a value is a number, and neither true nor false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def positive(value: object) -> bool:
    """Whether a value is a positive, finite number."""
    return is_number(value) and 0 < value < math.inf  # type: ignore[operator]


def check(name: str, default: object, value: object) -> None:
    """Refuse a value that is not like the default of its option.

    A number is whole where the default is, and positive where that is; of a list each item is like
    the first of the default's. A default that is none of these, such as None, says nothing.

    Raises:
        BenchError: it is not; one line.
    """
    if isinstance(default, list | tuple):
        like = default[0] if default else None
        several = isinstance(value, list | tuple) and bool(value)
        fits = several and all(_is_like(like, item, True) for item in value)  # type: ignore[attr-defined]
        wanted = f"a list of {_plural(like)}"
    else:
        fits, wanted = _is_like(default, value, False), _singular(default)
    if not fits:
        raise BenchError(f"option '{name}' must be {wanted}, not {value!r}")


def _is_like(default: object, value: object, in_list: bool) -> bool:
    """Items of a list may be fractions where the default's are whole numbers."""
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, str):
        return isinstance(value, str)
    if not is_number(default):
        return True
    if isinstance(default, int) and not isinstance(value, int) and not in_list:
        return False
    finite = is_number(value) and math.isfinite(value)  # type: ignore[arg-type]
    return positive(value) if positive(default) else finite


def _singular(default: object) -> str:
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, str):
        return "a word"
    whole = "whole number" if isinstance(default, int) else "number"
    return f"a positive {whole}" if positive(default) else f"a {whole}"


def _plural(default: object) -> str:
    if isinstance(default, bool):
        return "true and false"
    if isinstance(default, str):
        return "words"
    if not is_number(default):
        return "values"
    return "positive numbers" if positive(default) else "numbers"


def strengths(value: Any) -> tuple[float, ...]:
    """One or more strengths in the order given; `8/255` stands for that number.

    Raises:
        BenchError: they are not positive numbers, or one is there twice.
    """
    several = value if isinstance(value, list | tuple) else [value]
    found = [_fraction(item) for item in several]
    if not found or not all(map(positive, found)):
        raise BenchError(
            f"option 'epsilons' must be positive numbers, such as [0.1] or ['8/255'], not {value!r}"
        )
    if len(set(found)) < len(found):
        raise BenchError(f"option 'epsilons' has a number twice: {value!r}")
    return tuple(found)


def within_range(epsilons: Iterable[float]) -> None:
    """Refuse what papers write as 8 and mean as 8/255: it would allow any image at all.

    Raises:
        BenchError: an L-infinity norm above 1.
    """
    for epsilon in epsilons:
        if epsilon > 1:
            raise BenchError(
                f"option 'epsilons' is on the scale of images, 0 to 1, for L-infinity, not "
                f"{epsilon:g}; write '{epsilon:g}/255' if you mean levels of 255"
            )


def _fraction(value: Any) -> Any:
    """`8/255` as a number; anything else as it is."""
    if isinstance(value, str):
        parts = value.split("/")
        if len(parts) == 2 and all(part.strip().isdecimal() for part in parts) and int(parts[1]):
            return int(parts[0]) / int(parts[1])
    return value
