"""Which trainings have curves: loss and validation accuracy by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leaderboard.results import Learned

Nets = Mapping[tuple[str, str], Sequence[Learned]]


def trainings(learned: Sequence[Learned], dataset: str) -> dict[tuple[str, str], list[Learned]]:
    """The trainings of two epochs or more on a data set: (backbone, variant) to its seeds."""
    found: dict[tuple[str, str], list[Learned]] = {}
    for one in learned:
        if one.dataset == dataset and len(one.losses) > 1:
            found.setdefault((one.backbone, one.variant), []).append(one)
    return found
