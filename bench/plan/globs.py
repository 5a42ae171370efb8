"""Whether two globs have anything in common."""

from __future__ import annotations

from functools import lru_cache

_LARGEST = 100_000  # steps; what takes more is no pattern that somebody wrote by hand

Token = tuple[bool, frozenset[str]] | None
"""One character, of a set or (True) of all others; None is any text."""


def meet(one: str, other: str) -> bool:
    """Whether some text fits both, as `fnmatch.fnmatchcase` reads them.

    Patterns too long to be compared in no time are taken to meet.
    """
    if len(one) * len(other) > _LARGEST:
        return True
    rows, columns = _tokens(one), _tokens(other)
    # at[j]: some text fits the tokens of `one` so far and the first j of `other`.
    at = [True]
    for token in columns:
        at.append(at[-1] and token is None)
    for row in rows:
        now = [at[0] and row is None]
        for place, column in enumerate(columns):
            if row is None or column is None:
                now.append(at[place + 1] or now[place])
            else:
                now.append(at[place] and _overlap(row, column))
        at = now
    return at[-1]


@lru_cache(1024)
def _tokens(pattern: str) -> tuple[Token, ...]:
    found: list[Token] = []
    start = 0
    while start < len(pattern):
        char = pattern[start]
        # A ] that comes first is one of the set.
        first = start + 2 if pattern[start + 1 : start + 2] == "!" else start + 1
        end = pattern.find("]", first + 1) if char == "[" else -1
        start += 1
        if char == "*":
            found.append(None)
        elif char == "?":
            found.append((True, frozenset()))
        elif end < 0:
            found.append((False, frozenset(char)))
        else:
            found.append((first > start, _set(pattern[first:end])))
            start = end + 1
    return tuple(found)


def _set(inside: str) -> frozenset[str]:
    """`a-cx` as a, b, c and x."""
    found: set[str] = set()
    while inside:
        if len(inside) > 2 and inside[1] == "-":
            found.update(map(chr, range(ord(inside[0]), ord(inside[2]) + 1)))
            inside = inside[3:]
        else:
            found.add(inside[0])
            inside = inside[1:]
    return frozenset(found)


def _overlap(one: tuple[bool, frozenset[str]], other: tuple[bool, frozenset[str]]) -> bool:
    if one[0] and other[0]:
        return True
    if one[0] or other[0]:
        left_out, chosen = (one[1], other[1]) if one[0] else (other[1], one[1])
        return not chosen <= left_out
    return not one[1].isdisjoint(other[1])
