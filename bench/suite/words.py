"""Values as the author of a suite wrote them, not as Python prints them."""

from __future__ import annotations

import re
from collections.abc import Mapping

LONGEST = 60


def shown(value: object) -> str:
    """A value in an error message: `true`, `'text'`, `3`, `a list`; long ones are cut."""
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return f".{value}" if value > 0 or value != value else "-.inf"
    text = repr(value) if isinstance(value, str) else _digits(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def quoted_number(value: object) -> str:
    """A hint for a number in quotes, else nothing."""
    if not isinstance(value, str):
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return " (leave out the quotes)"


def one_line(text: str) -> str:
    """Text without line breaks and other characters that a terminal would act upon."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _digits(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # Python does not print whole numbers beyond some thousand digits
        return "a number of thousands of digits"


def as_whole_numbers(text: str) -> str:
    """What to write for a text that was meant as several whole numbers: `0..4`, `0-4`, `0, 1`."""
    if found := re.fullmatch(r"([0-9]{1,9})\s*(?:\.\.|-|:)\s*([0-9]{1,9})", text.strip()):
        first, last = map(int, found.groups())
        if first <= last < first + 20:
            return f"write {[*range(first, last + 1)]}"
    elif re.fullmatch(r"[0-9]{1,9}(\s*,\s*[0-9]{1,9}|\s+[0-9]{1,9})*", text.strip()):
        return f"write {[int(number) for number in re.findall(r'[0-9]+', text)]}"
    return "write all of them, like [0, 1, 2, 3, 4]"
