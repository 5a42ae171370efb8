"""How trainings went: loss and validation accuracy by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from leaderboard.blocks import Block, Figure, Heading
from leaderboard.kept import Kept
from leaderboard.numbers.training import trainings
from leaderboard.results import Results
from leaderboard.text import said, slug

if TYPE_CHECKING:
    from leaderboard.sections.drawn import Order


def training_blocks(
    results: Results, dataset: str, order: Order, taken: set[str], kept: Kept
) -> Iterator[Block]:
    """The section; nothing where nothing was trained for two epochs."""
    found = trainings(results.learned, dataset)
    if not found:
        return
    pick = order.pick(found)
    nets = {net: found[net] for net in pick.nets}
    from leaderboard.figures.training import training_figure

    yield Heading(3, "Training")
    yield Figure(
        slug(f"{dataset}-training", taken),
        kept.figure(("training curves", dataset, nets), lambda: training_figure(dataset, nets)),
        f"Training loss and validation accuracy on {dataset} by epoch",
        said(
            pick.note,
            "Mean training loss of each epoch (logarithmic axis), and accuracy on the part of the "
            "training set that was held out, after it. Lines are means over seeds, bands span the "
            "lowest to the highest seed. The network of the last epoch is the one that is "
            "measured.",
        ),
    )
