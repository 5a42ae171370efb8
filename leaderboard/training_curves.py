"""How trainings went: loss and validation accuracy by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from leaderboard.blocks import Block, Figure, Heading
from leaderboard.kept import Kept
from leaderboard.results import Learned, Results
from leaderboard.text import slug

Nets = Mapping[tuple[str, str], Sequence[Learned]]
# Networks in one figure: more lines than this are a tangle.
MOST = 12


def trainings(learned: Sequence[Learned], dataset: str) -> dict[tuple[str, str], list[Learned]]:
    """The trainings of two epochs or more on a data set: (backbone, variant) to its seeds."""
    found: dict[tuple[str, str], list[Learned]] = {}
    for one in learned:
        if one.dataset == dataset and len(one.losses) > 1:
            found.setdefault((one.backbone, one.variant), []).append(one)
    return found


def training_blocks(results: Results, dataset: str, taken: set[str], kept: Kept) -> Iterator[Block]:
    """The section; nothing where nothing was trained for two epochs, or too many networks were."""
    nets = trainings(results.learned, dataset)
    if not 0 < len(nets) <= MOST:
        return
    from leaderboard.training_figure import training_figure

    yield Heading(3, "Training")
    yield Figure(
        slug(f"{dataset}-training", taken),
        kept.figure(("training curves", dataset, nets), lambda: training_figure(dataset, nets)),
        f"Training loss and validation accuracy on {dataset} by epoch",
        "Mean training loss of each epoch (logarithmic axis), and accuracy on the part of the "
        "training set that was held out, after it. Lines are means over seeds, bands span the "
        "lowest to the highest seed. The network of the last epoch is the one that is measured.",
    )
