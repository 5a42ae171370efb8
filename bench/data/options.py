"""The options a data set takes in a suite, and what their values may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from bench.errors import did_you_mean

Check = Callable[[object], str | None]

SMALLEST, LARGEST = 4, 1024


def size(value: object) -> str | None:
    """Say what is wrong with a side length in pixels, or return None."""
    if type(value) is int and SMALLEST <= value <= LARGEST:
        return None
    return f"{value!r} is not a whole number of pixels from {SMALLEST} to {LARGEST}"


def text(value: object) -> str | None:
    """Say what is wrong with a name, or return None."""
    return None if isinstance(value, str) and value else f"{value!r} is not a name"


# What every data set takes besides its own: a part of its images, see `subset`.
PARTS = ("train_samples", "test_samples")

COMMON: Mapping[str, Check] = {"image_size": size}
# Of sets whose training images may be larger, for random crops.
TWO_SIZES: Mapping[str, Check] = {**COMMON, "train_size": size}


def unknown(given: Iterable[str], known: Iterable[str]) -> str | None:
    """Name the first option that is neither known nor one of every data set, and the nearest or all
    that are; None if all are."""
    choices = sorted({*known, *PARTS})
    for name in given:
        if name not in choices:
            return f"unknown option '{name}'{did_you_mean(name, choices)}"
    return None


def invalid(given: Mapping[str, object], checks: Mapping[str, Check]) -> str | None:
    """Name the first option with a value that its check refuses; None if all are good."""
    for name, value in given.items():
        problem = checks[name](value) if name in checks else None
        if problem:
            return f"option '{name}': {problem}"
    return None
