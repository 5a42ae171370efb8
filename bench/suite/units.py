"""Times and sizes as people write them in a suite: `30m`, `8GiB`."""

from __future__ import annotations

import re
from typing import Any

from bench.suite.words import shown

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([A-Za-z]+)\s*")
# Longer than a year, or more than a machine has, is a slip of the finger.
LONGEST, LARGEST = 366 * 86400, 1024**5


def seconds(value: Any) -> float:
    """Seconds of a number, or of a text like `90s`, `30m`, `1.5h`, `2d`.

    Raises:
        ValueError: it is neither, not positive, or beyond a year.
    """
    number = _number(value, _SECONDS)
    if number is None:
        raise ValueError(f"must be seconds, or a time like 90s, 30m or 2h, not {shown(value)}")
    if not 0 < number <= LONGEST:
        raise ValueError(f"must be above 0 and at most a year, not {shown(value)}")
    return number


def size(value: Any) -> int:
    """Bytes of a text like `8GiB` or `500MB`.

    Raises:
        ValueError: it is none (a plain number has no unit to tell), or not positive.
    """
    number = None if _is_plain(value) else _number(value, _BYTES)
    if number is None:
        raise ValueError(f"must be a size like 8GiB or 500MiB, not {shown(value)}")
    if not 1 <= number <= LARGEST:
        raise ValueError(
            f"must be above 0 and at most {LARGEST // 1024**4} TiB, not {shown(value)}"
        )
    return int(number)


def time_text(seconds: float) -> str:
    """`90 s`, `30 min`, `2 h`: the largest unit that comes out even."""
    for unit, factor in (("h", 3600), ("min", 60)):
        if seconds >= factor and seconds % factor == 0:
            return f"{seconds / factor:g} {unit}"
    return f"{seconds:g} s"


def size_text(count: float) -> str:
    """`1.5 GiB`, `300 MiB`."""
    for unit, power in (("TiB", 4), ("GiB", 3), ("MiB", 2)):
        if count >= 1024**power:
            return f"{count / 1024**power:.3g} {unit}"
    return f"{count / 1024:.3g} KiB"


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float)


def _number(value: Any, units: dict[str, int]) -> float | None:
    if _is_plain(value):
        return None if isinstance(value, bool) else min(float(min(value, 10**30)), 1e30)
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[2] not in units:
        return None
    return float(found[1][:300]) * units[found[2]]
