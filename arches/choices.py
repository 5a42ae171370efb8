"""Errors that name the choices: every wrong name in this package is answered the same way."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable


def unknown(kind: str, value: object, choices: Iterable[str]) -> ValueError:
    """The error for a name that is not among the choices.

    Args:
        kind: what the name stands for, such as ``"variant"``.
        value: what was given.
        choices: the names that would have been right.

    Returns:
        A ``ValueError`` that lists the choices and suggests the nearest one.
    """
    listed = list(choices)
    near = difflib.get_close_matches(str(value), listed, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ValueError(f"unknown {kind} {value!r}.{hint} Choose from: {', '.join(listed)}.")


def require_choice(kind: str, value: object, choices: Iterable[str]) -> None:
    """Raise the error of :func:`unknown` unless ``value`` is one of the choices."""
    listed = list(choices)
    if value not in listed:
        raise unknown(kind, value, listed)


def require_count(kind: str, value: object) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{kind} must be a whole number of at least 1, not {value!r}.")


def require_number(kind: str, value: object, where: str, holds: Callable[[float], bool]) -> None:
    """Raise ``ValueError`` unless ``value`` is a number for which ``holds`` is true."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not holds(value):
        raise ValueError(f"{kind} must be a number {where}, not {value!r}.")
