"""The one error of inversion: what cannot be turned upside down says why."""

from __future__ import annotations


class InversionError(ValueError):
    """A network that cannot be inverted, or not with these options.

    Attributes:
        reason: a short name of the reason, such as ``"isotropic"`` or ``"fixed size"``, by which
            refusals are counted.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def first_line(error: BaseException) -> str:
    """What an error of somebody else's code says, for a sentence: its first line without a full
    stop, or its class."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__
