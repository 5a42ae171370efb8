"""What a suite claims of its networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Expect = Literal["higher", "lower", "not higher", "not lower", "weakest input"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence that numbers can bear out or contradict; `leaderboard.claims` says how."""

    claim: str
    numbers: tuple[str, ...]
    expect: Expect
    nets: tuple[str, ...] = ("*",)
    against: tuple[str, ...] = ("bu",)
    margin: float = 0.0
    inputs: tuple[str, ...] = ()
    source: str = ""
