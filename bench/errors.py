"""Errors that are the user's to mend: printed as they are, without a traceback, exit code 2."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path


class BenchError(Exception):
    """Bad input. The message says what is wrong, where, and what to do; the CLI exits with 2."""


class UnknownNameError(BenchError):
    """A name that no registry knows; the message offers the nearest ones."""


class DataError(BenchError):
    """A data set that is missing, corrupt or unusable; the message names the file or folder."""


class NotSquareError(DataError):
    """Images of a data set have sides of two lengths, and nothing says to which to resize them."""


class NotInvertibleError(BenchError):
    """A network that has no top-down variant, or not on such images; the message says why."""


class WeightsLostError(BenchError):
    """The weights that a run keeps of a training are gone or damaged; it can be done again."""


def visible(text: str) -> str:
    """Text of strangers for a terminal: its lines stay, what a terminal would obey is escaped."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def own_line(error: BaseException) -> str:
    """` (nets.py:12)`: the innermost line of the user's own code, if the error came by there."""
    ours = {Path(__file__).parent.parent / name for name in ("arches", "bench", "leaderboard")}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if "site-packages" not in path.parts and ours.isdisjoint(path.parents) and path.is_file():
            return f" ({path.name}:{frame.lineno})"
    return ""


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the nearest choice, or the choices, or `""` if none."""
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    if not known:
        return ""
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"; known: {shown}"
