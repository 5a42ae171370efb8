"""The section on flags: what speaks against the numbers of a data set under attack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leaderboard.blocks import Block, Bullets, Cell, Grid, Heading, Text
from leaderboard.numbers.flags import BADGES, Flag, unjudged
from leaderboard.results import Results
from leaderboard.text import words


def flag_blocks(results: Results, dataset: str, raised: Sequence[Flag]) -> Iterator[Block]:
    """What speaks against these numbers, and what was looked for in vain."""
    yield Heading(4, "Flags")
    if raised:
        yield Grid(
            "Signs of masked gradients or of a broken evaluation",
            (),
            (),
            tuple(
                (
                    Cell(BADGES[flag.badge].name, "flag"),
                    Cell(flag.backbone),
                    Cell(flag.variant),
                    Cell(words(flag.attack) if flag.attack else "any"),
                    Cell(flag.finding),
                )
                for flag in raised
            ),
            ("Flag", "Backbone", "Variant", "Attack", "Found"),
        )
    shown = [badge for badge in BADGES if any(flag.badge == badge for flag in raised)]
    if shown:
        yield Bullets(tuple((BADGES[badge].name, BADGES[badge].meaning) for badge in shown))
    if any(not flag.minor for flag in raised):
        yield Text(
            "A number that a flag speaks against is not bold, be it the best, and verdicts on it "
            "say so: under the attack named, or under all that follow gradients. Of fewer than 3 "
            "images lost, repeats that were identical and approximate searches this is not said."
        )
    unknown = unjudged(results, dataset)
    clear = [badge for badge in BADGES if badge not in shown and badge not in unknown]
    # Runs of before sizes were looked at, and attacks without a strength, need not speak of them.
    unknown = [badge for badge in unknown if badge != "oversized"]
    told = [
        f"{start}: {', '.join(BADGES[badge].name for badge in badges)}."
        for start, badges in (
            ("Looked for and not found", clear),
            ("Not tested, because the attacks or numbers needed are missing", unknown),
        )
        if badges
    ]
    yield Text(" ".join(told))
