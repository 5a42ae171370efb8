"""The most accurate network of each data set against the others, as tables."""

from __future__ import annotations

from collections.abc import Iterator

from leaderboard.blocks import Block, Cell, Grid, Heading, Text
from leaderboard.numbers.best import best_networks
from leaderboard.results import Results
from leaderboard.sections.variants import COLUMNS, MOST, compared_cells


def best_blocks(results: Results) -> Iterator[Block]:
    """Heading, a table for each data set with several backbones, and how to read them; nothing
    without one. Tables that are too long are left to programs."""
    found = [one for one in best_networks(results) if len(one.leads) <= MOST]
    if not found:
        return
    yield Heading(2, "The most accurate network")
    for best in found:
        named = f"{' '.join(best.net)} on {best.dataset}"
        unit = "points" if best.info.unit == "%" else ""
        yield Heading(3, named)
        yield Grid(
            f"Differences in accuracy: {named}, less each other network",
            ("Against: backbone", "Variant"),
            COLUMNS,
            tuple(
                (
                    *map(Cell, lead.other),
                    *compared_cells(lead.compared, best.info.decimals, unit),
                    Cell(lead.verdict),
                )
                for lead in best.leads
            ),
            ("Verdict",),
        )
    yield Text(
        "The accuracy of the network with the highest mean, less that of each other network, seed "
        "by seed; one without two seeds in common with it is left out. The interval and p are of a "
        "moderated t-test (Smyth, 2004), whose variance is pooled over all pairs of the networks. "
        "The best was chosen by the same numbers, which flatters it: p is corrected for all these "
        "pairs (Bonferroni), and verdicts go by that, while an interval is of its number alone. "
        "Effect is the mean difference over its standard deviation between seeds. Inconclusive: "
        "more seeds are needed to tell the two apart, so do not rank them. A pair that is under "
        "Against bu, too, may have another verdict there, where spreads are pooled with, and p is "
        "corrected for, other comparisons: go by the more careful one."
    )
