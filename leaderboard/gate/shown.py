"""Two values side by side, as text."""

from __future__ import annotations

import math

from leaderboard.rounding import fixed

_DIGITS = 4


def alike(*values: float) -> tuple[str, ...]:
    """Values that a reader compares, all with as many decimals: 41 and 49.312 are "41.00" and
    "49.31".

    The largest is given four digits, from 1,000 on all of those before the point. Zeros that all
    of them would end with are left out, so that whole numbers stay whole.
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if 0 < largest < 10.0**-_DIGITS:
        return tuple(f"{value:.{_DIGITS - 1}e}" for value in values)
    before_point = math.floor(math.log10(largest)) + 1 if largest else 1
    decimals = max(_DIGITS - before_point, 0)
    texts = [fixed(value, decimals) for value in values]
    while decimals and all(text.endswith("0") for text in texts if text[-1].isdigit()):
        decimals -= 1
        texts = [fixed(value, decimals) for value in values]
    return tuple(texts)
