"""The section "What reproduces": claim by claim, figure, interval and verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from leaderboard.blocks import Block, Bullets, Cell, Grid, Heading, Text
from leaderboard.numbers.summary import Summary
from leaderboard.quantity import show
from leaderboard.results import Claim, Results
from leaderboard.rounding import fixed

if TYPE_CHECKING:
    from leaderboard.claims.gap import Gap
    from leaderboard.claims.judge import Judged, Line


def claim_blocks(results: Results) -> Iterator[Block]:
    """Heading, the verdicts, what they rest on, and how to read them; nothing without claims."""
    if not results.claims:
        return
    from leaderboard.claims.judge import judge

    found = judge(results)
    yield Heading(2, "What reproduces")
    yield Grid(
        "Claims and verdicts",
        ("No.", "Claim", "Source"),
        (),
        tuple(_head(number, one) for number, one in enumerate(found, 1)),
        ("Verdict", "Networks"),
    )
    lines = tuple(
        _line(number, one.claim, line) for number, one in enumerate(found, 1) for line in one.lines
    )
    if lines:
        yield Heading(3, "Figures behind the verdicts")
        yield Grid(
            "Figures behind the verdicts",
            ("No.", "Data set", "Backbone", "Variant", "Against"),
            ("Its figure", "The other's", "Difference", "Interval", "Numbers", "Seeds (n)"),
            lines,
            ("Verdict",),
        )
    yield from _partly(found)
    text = _legend(any(one.claim.margin for one in found))
    if any("/" in entry for one in found for entry in one.claim.against):
        text += (
            " Another backbone is named beside its variant; seeds are paired there too, for a seed "
            "gives every network the same order of images."
        )
    if any(line.gap.flags for one in found for line in one.lines):
        text += " ⚠: it rests on a number that a flag speaks against, as told below."
    yield Text(text)


def _partly(found: Sequence[Judged]) -> Iterator[Block]:
    """What was not measured of claims that have a verdict; a line for all that lack the same."""
    lacking: dict[str, list[str]] = {}
    for number, one in enumerate(found, 1):
        if one.absent:
            lacking.setdefault("; ".join(one.absent), []).append(str(number))
    if lacking:
        yield Text(
            "These verdicts rest on only some of what their claims name. Not measured, infinite, "
            "or not of both sides with a seed and images in common:"
        )
        yield Bullets(
            tuple(
                (f"Claim{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}", text)
                for text, numbers in lacking.items()
            )
        )


def _head(number: int, one: Judged) -> tuple[Cell, ...]:
    claim = one.claim
    texts = (str(number), claim.claim, claim.source or "–")
    return (*map(Cell, texts), _verdict(one.verdict, one.flags), Cell(one.counts or "–"))


def _line(number: int, claim: Claim, line: Line) -> tuple[Cell, ...]:
    gap = line.gap
    unit = "%" if gap.ratio else "points"
    scale = 100.0 if gap.ratio else 1.0
    ends = "–"
    if line.low is not None and line.high is not None:
        low, high = (fixed(scale * end, 1, sign=True) for end in (line.low, line.high))
        ends = "exact" if gap.exact else f"[{low}, {high}]"
    rival = f"input {gap.rival}" if claim.inputs else gap.rival
    return (
        Cell(str(number)),
        *map(Cell, (*gap.net, rival)),
        Cell(_value(gap, gap.mine)),
        Cell(_value(gap, gap.other)),
        Cell(f"{fixed(scale * line.difference, 1, sign=True)} {unit}"),
        Cell(ends),
        Cell(str(len(gap.numbers))),
        Cell(str(len(gap.values))),
        _verdict(line.verdict, gap.flags),
    )


def _verdict(verdict: str, flags: Iterable[str]) -> Cell:
    from leaderboard.numbers.doubts import flagged

    text, is_flagged = flagged(verdict, flags)
    return Cell(text, "flag" if is_flagged else "value")


def _value(gap: Gap, value: float) -> str:
    return show(Summary(value, None, 1), gap.info).text if gap.info else fixed(value, 1)


def _legend(margins: bool) -> str:
    text = (
        "Claims are the suite's own (below, or in the file that it names); each is judged network "
        "by network, against the rival that leaves it the least room, and holds only if it holds "
        "for all of them. Figures are percentages whose differences are points, or have the "
        "number's own unit with differences in percent of the other's. Under attack they are mean "
        "accuracies (or, of a claim about losses, mean accuracy losses) up to the L₂ size B of "
        "each attack, averaged over the attacks of the claim; with a perturbed input, accuracies. "
        "Only what was right can be lost: beside a loss, look at the accuracies. Numbers: how "
        "many the figure is the mean of, those that both networks have. Intervals are for other "
        "seeds and, under attack and of heatmaps, for other images of the same kind; accuracies "
        "are those of these test images. They are of a moderated t-test (Smyth, 2004); all those "
        "of one claim hold together with a probability of 95 % (Bonferroni). Inconclusive: the "
        "interval holds both answers, or seeds that are equal by chance give none; more seeds are "
        "needed. Not tested: nothing of it was measured here. Exact: counted, not sampled."
    )
    if margins:
        text += " What a claim calls on par or no gain is within a margin that it states."
    return text
