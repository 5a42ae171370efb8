"""A data set's section on common corruptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from leaderboard.blocks import Block, Cell, Figure, Grid, Heading, Text
from leaderboard.kept import Kept
from leaderboard.numbers.corruptions import Corrupted, corrupted
from leaderboard.numbers.ranking import spread_of, unbeaten
from leaderboard.numbers.summary import Summary
from leaderboard.quantity import show
from leaderboard.results import MetricInfo, Results
from leaderboard.text import said, slug, words

if TYPE_CHECKING:
    from leaderboard.sections.drawn import Order

_PERCENT = MetricInfo("", "%", decimals=1)


def corruption_blocks(
    results: Results, dataset: str, order: Order, taken: set[str], kept: Kept
) -> Iterator[Block]:
    """The section; nothing where corruptions were not measured."""
    found = corrupted(results, dataset)
    if not found:
        return
    from leaderboard.figures.bars import corruption_figure

    yield Heading(3, "Common corruptions")
    yield _overview(found)
    pick = order.pick((one.backbone, one.variant) for one in found)
    drawn = [one for one in found if (one.backbone, one.variant) in pick.nets]
    yield Figure(
        slug(f"{dataset}-corruptions", taken),
        kept.picture(corruption_figure(dataset, drawn)),
        f"Error on {dataset} with common corruptions",
        said(
            pick.note,
            "Error on corrupted test images, mean over severities and seeds; whiskers are one "
            "standard deviation over seeds, the line across a bar is the error on the same images "
            "without corruption. Shorter is better.",
        ),
    )
    yield _each(found)
    yield Text(
        "The mean corruption error (mCE) is the mean over corruptions of the error, summed over "
        "severities, in percent of that of the bottom-up network of the same backbone and seed "
        "(Hendrycks and Dietterich, 2019): below 100 is better than bottom-up. Values are mean ± "
        "sample standard deviation over seeds; bold is the lowest, and every value whose "
        "interval over seeds overlaps it (mCE, being of different networks, has no best)."
    )


def _overview(found: list[Corrupted]) -> Grid:
    clean = _lowest([one.clean for one in found])
    errors = _lowest([one.error for one in found])
    # Of different bottom-up networks: there is no best among them.
    relative = [_against(one) for one in found]
    return Grid(
        "Errors on corrupted images",
        ("Backbone", "Variant"),
        ("Seeds (n)", "Clean error ↓ (%)", "Mean error ↓ (%)", "mCE against bu ↓ (%)"),
        tuple(
            (Cell(one.backbone), Cell(one.variant), Cell(str(one.error.n)), *cells)
            for one, *cells in zip(found, clean, errors, relative, strict=True)
        ),
    )


def _each(found: list[Corrupted]) -> Grid:
    """A line for each corruption, a column for each network."""
    names = list(dict.fromkeys(name for one in found for name in one.errors))
    return Grid(
        "Error (%) by corruption, mean over severities",
        ("Corruption",),
        tuple(f"{one.backbone} · {one.variant}" for one in found),
        tuple(
            (Cell(words(name)), *_lowest([one.errors.get(name) for one in found])) for name in names
        ),
    )


def _shown(one: Summary | None) -> Cell:
    return Cell("–", "missing") if one is None else Cell(show(one, _PERCENT).text)


def _against(one: Corrupted) -> Cell:
    """The mCE, and of how many seeds if not of all: the bottom-up network may lack some."""
    cell = _shown(one.mce)
    if one.mce is None or one.mce.n == one.error.n:
        return cell
    return replace(cell, text=f"{cell.text} (n = {one.mce.n})")


def _lowest(summaries: Sequence[Summary | None]) -> list[Cell]:
    """Cells with the lowest marked, and those that its interval does not leave behind."""
    known = [one for one in summaries if one is not None]
    leads = iter(unbeaten([spread_of(one) for one in known], "lower"))
    return [
        _shown(one) if one is None else replace(_shown(one), best=next(leads)) for one in summaries
    ]
