"""Decimals that do not depend on the processor."""

from __future__ import annotations

import math

# A sum of thousands of numbers differs from one processor to another by some 1e-15 of them, and a
# difference of two such sums by as much of what was taken from each other.
_DIGITS, _BEYOND = 13, 8


def rounded(value: float, decimals: int) -> float:
    """`value` to `decimals` places, as every processor has it; never -0.0.

    Means of few seeds often lie half way between two decimals, and there the last bits of a sum
    would decide: 82.05 is 82.0 or 82.1. So what only the last bits say is cut off before.
    """
    if not math.isfinite(value):
        return value
    if value.is_integer() or abs(value) >= 10 ** (_DIGITS - 1):  # a count, which has no last bits
        return round(value, decimals) + 0.0
    settled = round(float(f"{value:.{_DIGITS}g}"), decimals + _BEYOND)
    return round(settled, decimals) + 0.0


def fixed(value: float, decimals: int, *, sign: bool = False) -> str:
    """`value` with that many decimals and commas between thousands: "1,234.5", "-0.3"; with `sign`
    "+0.3" as well; "inf" and "nan" as they are."""
    text = f"{rounded(value, decimals):,.{decimals}f}"
    return f"+{text}" if sign and not text.startswith("-") else text
