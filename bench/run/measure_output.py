"""What a measure found, which may be anybody's code: whether it can be kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.measures.base import Found


def kept_of(found: object) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
    """The numbers and arrays that a measure returned, by their names.

    Raises:
        BenchError: something that cannot be kept: it would end the run that has to record it.
    """
    if not isinstance(found, Found):
        found = Found(_mapping(found, "numbers"))
    metrics = {
        _name(name): _number(name, value)
        for name, value in _mapping(found.metrics, "numbers").items()
    }
    # A distance may be infinite; less than everything is no result.
    undefined = [name for name, value in metrics.items() if value != value or value == -math.inf]
    if undefined:
        raise BenchError(f"the measure returned NaN or -inf for {', '.join(undefined)}")
    arrays = _mapping(found.arrays, "arrays")
    return metrics, {_name(name): _array(name, value) for name, value in arrays.items()}


def _mapping(given: object, of: str) -> Mapping[Any, Any]:
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise BenchError(f"the measure returned {kind}, not a mapping of names to {of}")
    return given


def _name(given: object) -> str:
    if not isinstance(given, str):
        raise BenchError(f"the measure returned {given!r} as a name: names are text")
    return given


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise BenchError(f"the measure returned {kind} for {name}, not a number") from None


def _array(name: str, value: Any) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise BenchError(f"the measure returned no array for {name}: {error}") from None
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise BenchError(
            f"the measure returned an array of {array.dtype} for {name}, not of numbers or bools"
        )
    return array
