"""The curves of accuracy under attack as numbers, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leaderboard.blocks import Block, Cell, Grid, Text
from leaderboard.numbers.doubts import doubts
from leaderboard.numbers.ranking import Spread, unbeaten
from leaderboard.numbers.summary import Key, by_seed, summarize
from leaderboard.quantity import SOME_INFINITE, infinite_for
from leaderboard.results import Results
from leaderboard.rounding import fixed
from leaderboard.text import said, words

if TYPE_CHECKING:
    from leaderboard.numbers.bootstrap import Interval
    from leaderboard.numbers.robustness import Attacks, Estimate


_LEGEND = (
    "B is the L₂ size up to which an attack is summed up, where its panel ends. The mean "
    "accuracy to B is the area under the curve of accuracy against L₂, as a share of that of a "
    "network that is never fooled; against bu: its difference to the bottom-up network of the "
    "same backbone, seed by seed and image by image. The median L₂ is taken of the images "
    "classified correctly. Bold is the best of its attack, and every value whose interval "
    "overlaps that of the best; a network with one measured seed is not bold, and if the best "
    "is such a network, nothing is. Brackets hold 95 % "
    "intervals of a two-level bootstrap over seeds and images ({replicates:,} "
    "replicates, widened for the small number of seeds by Student's t); those of a single seed "
    "are over images only. "
    "Predictions per image are those that the attack asked of the network in all repeats, that "
    "of the clean image included."
)
_EQUAL = (
    "A median without brackets is the same for all seeds and in all resamples, by chance, as on a "
    "grid of strengths: it tells nothing of other seeds, so it is not bold, and if the best is "
    "such a number, nothing is."
)


def attack_numbers(results: Results, dataset: str, attacks: Attacks) -> Iterator[Block]:
    """The table of attacks, and how to read it."""
    from leaderboard.numbers.robustness import SHARES

    budgets = tuple(f"{share:g} B".replace("1 B", "B") for share in SHARES)
    spent = _predictions(results, dataset)
    lines: list[tuple[Cell, ...]] = []
    for summary in attacks.summaries:
        name = f"{words(summary.attack)}, B = {summary.limit:g}"
        rows = [_row(one) for one in summary.estimates]
        measure = f"robustness/{summary.attack}"
        keys = [Key(dataset, one.backbone, one.variant, measure, "") for one in summary.estimates]
        sound = [not doubts(results, key) for key in keys]
        told = _cells(rows, sound)
        for one, cells in zip(summary.estimates, told, strict=True):
            head = (name, one.backbone, one.variant, str(one.seeds))
            used = spent.get((summary.attack, one.backbone, one.variant))
            last = Cell("–", "missing") if used is None else Cell(used)
            lines.append((*map(Cell, head), *cells, last))
    yield Grid(
        "Accuracy under attack, with 95 % intervals",
        ("Attack", "Backbone", "Variant"),
        (
            "Seeds (n)",
            "Accuracy at L₂ 0 (%)",
            "Mean accuracy to B ↑ (%)",
            "… against bu (points)",
            "Median L₂ ↑",
            *(f"Accuracy at {budget} ↑ (%)" for budget in budgets),
            "Predictions per image",
        ),
        tuple(lines),
    )
    medians = [_median(one) for summary in attacks.summaries for one in summary.estimates]
    yield Text(
        said(
            _LEGEND.format(replicates=attacks.replicates),
            _EQUAL if any(one.is_equal for one in medians) else "",
            SOME_INFINITE if any(one.is_partly_infinite for one in medians) else "",
        )
    )
    yield from _stepped(results, dataset)


def _stepped(results: Results, dataset: str) -> Iterator[Block]:
    """Which curves are of attacks of fixed strengths."""
    stepped = dict.fromkeys(s.attack for s in results.samples if s.dataset == dataset)
    fixed = [(name, results.attacks[name].strengths) for name in stepped if name in results.attacks]
    grids = [
        f"{words(name)} ({len(grid)} epsilon{'s' * (len(grid) != 1)})"
        for name, grid in fixed
        if grid
    ]
    if grids:
        yield Text(
            f"Tried at fixed strengths only: {', '.join(grids)}. Their curves rise in steps at "
            "these, and their medians and accuracies follow the grid: compare them with each "
            "other, not with attacks that look for the smallest perturbation."
        )


def _predictions(results: Results, dataset: str) -> dict[tuple[str, str, str], str]:
    """By attack, backbone and variant, how often the network was asked, mean over seeds."""
    found = {}
    for key, seeds in by_seed(results.rows).items():
        family, _, attack = key.measure.partition("/")
        if (key.dataset, family, key.metric) == (dataset, "robustness", "evaluations"):
            mean = summarize([*seeds.values()]).mean
            found[attack, key.backbone, key.variant] = fixed(mean, 0)
    return found


_CLEAN, _AGAINST, _MEDIAN = 0, 2, 3  # columns; in the first two, nothing is the best


@dataclass(frozen=True, slots=True)
class _Number:
    """An estimate over so many seeds, of which `endless` are infinite, and how it is shown."""

    one: Interval
    seeds: int
    decimals: int = 1
    endless: int = 0

    @property
    def is_equal(self) -> bool:
        """Whether seeds, and what resamples of the images give, are equal by chance, as medians on
        a grid are: nobody knows how far others would lie from these."""
        return self.seeds > 1 and self.one.low == self.one.high and math.isfinite(self.one.value)

    @property
    def is_partly_infinite(self) -> bool:
        """Whether some seeds are infinite and others are not."""
        return 0 < self.endless < self.seeds

    @property
    def spread(self) -> Spread:
        """What tells it from others."""
        if self.seeds < 2 or self.is_equal or self.is_partly_infinite:
            return Spread(self.one.value, None, None)
        return Spread(self.one.value, self.one.low, self.one.high)

    def text(self, *, sign: bool = False) -> str:
        """ "62.3 [58.1, 66.0]"; "62.3" where there is no interval."""
        if self.is_partly_infinite:
            return infinite_for(self.endless, self.seeds)
        texts = [
            "∞" if math.isinf(number) else fixed(number, self.decimals, sign=sign)
            for number in (self.one.value, self.one.low, self.one.high)
        ]
        return texts[0] if self.is_equal else f"{texts[0]} [{texts[1]}, {texts[2]}]"


def _row(one: Estimate) -> list[_Number | None]:
    shares = (one.clean, one.area, one.against, None, *one.at)
    row = [None if share is None else _Number(share, one.seeds) for share in shares]
    row[_MEDIAN] = _median(one)
    return row


def _median(one: Estimate) -> _Number:
    return _Number(one.median, one.seeds, 2, one.endless)


def _cells(rows: Sequence[Sequence[_Number | None]], sound: Sequence[bool]) -> list[list[Cell]]:
    """Cells of estimates, the best of a column marked, and whatever its interval does not leave
    behind; a flagged number is not."""
    columns = []
    for place, column in enumerate(zip(*rows, strict=True)):
        leads = [False] * len(rows)
        if place not in (_CLEAN, _AGAINST):
            leads = unbeaten([one.spread for one in column if one is not None], "higher")
        columns.append(
            [
                Cell("–" if one is None else one.text(sign=place == _AGAINST), best=lead and may)
                for one, lead, may in zip(column, leads, sound, strict=True)
            ]
        )
    return [list(row) for row in zip(*columns, strict=True)]
