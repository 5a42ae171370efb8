"""What a function says of its data set beside the images: classes, statistics, foreground."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from bench.errors import DataError


def classes(given: object, where: str) -> tuple[Any, ...]:
    """The names of classes as a tuple of plain text or whole numbers.

    `where` names the data set in errors.

    Raises:
        DataError: they are not several names, or repeat.
    """
    given = given.tolist() if hasattr(given, "tolist") else given  # of an array or a tensor
    # Text would be its letters, and a set has no order that labels could mean.
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Set | Mapping):
        raise DataError(
            f"{where}: classes is {given!r}, expected the names of the classes, like ('cat', 'dog')"
        )
    names = tuple(name if type(name) in (str, int) else str(name) for name in given)
    if len(set(names)) != len(names):
        raise DataError(f"{where}: class names repeat")
    return names


def moments(
    mean: object, std: object, channels: int, where: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel as plain floats.

    Raises:
        DataError: there is not one for each channel, or they are not those of pixels in [0, 1].
    """
    means, deviations = _numbers(mean), _numbers(std)
    if means is None or deviations is None:
        like = f"({', '.join(['0.5'] * channels)},)"
        raise DataError(
            f"{where}: mean {mean!r} and std {std!r}: expected a number for each channel in both, "
            f"like {like}"
        )
    shown = f"{where}: mean {means} and std {deviations}"
    if (len(means), len(deviations)) != (channels, channels) or min(deviations) <= 0:
        raise DataError(f"{shown} need {channels} values each, std above 0")
    if not all(0 <= value <= 1 for value in means + deviations):  # which NaN is not either
        raise DataError(f"{shown}: expected those of pixels scaled to [0, 1], so none above 1")
    return means, deviations


def foreground(given: object, where: str) -> float | None:
    """The threshold of bright objects on black, if there is one, as a plain float.

    Raises:
        DataError: it is no number from 0 to 1.
    """
    if given is None:
        return None
    found = _numbers((given,))
    if found is None or not 0 <= found[0] <= 1:
        raise DataError(f"{where}: foreground is {given!r}, expected a number from 0 to 1")
    return found[0]


def _numbers(given: object) -> tuple[float, ...] | None:
    """Plain floats of a sequence, an array or a tensor of numbers; None of anything else."""
    if not isinstance(given, Iterable):
        return None
    try:
        numbers = tuple(given)
        return (
            None if any(isinstance(each, str) for each in numbers) else tuple(map(float, numbers))
        )
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
