"""Families that run several resolutions side by side, which no order of stages can express."""

from __future__ import annotations

from typing import Any, NoReturn

from arches.inversion.adapters.registry import register_adapter
from arches.inversion.errors import InversionError


@register_adapter("HighResolutionNet")
def _hrnet(model: Any) -> NoReturn:
    """Up to four resolutions from the second stage on, which exchange maps in both directions.

    Whatever is computed at the coarsest resolution depends on the finest one and the other way
    round, several times over; there is no first and no last resolution to swap.
    """
    raise refusal(type(model).__name__, "four resolutions, which exchange maps after each module")


@register_adapter("CrossVit")
def _crossvit(model: Any) -> NoReturn:
    """Two sizes of patches of the same image, side by side from the image to the logits."""
    raise refusal(type(model).__name__, "two sizes of patches, which exchange class tokens")


def refusal(name: str, what: str) -> InversionError:
    """The error for a family of which no chain of stages is a faithful reading."""
    return InversionError(
        "parallel resolutions",
        f"{name} runs {what}; resolutions are not passed one after the other, so that there is no "
        f"order to reverse.",
    )
