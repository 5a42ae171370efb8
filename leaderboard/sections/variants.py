"""The comparison of every variant with the bottom-up network, as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator

from leaderboard.blocks import Block, Cell, Grid, Heading, Text
from leaderboard.numbers.doubts import doubts_between, flagged
from leaderboard.numbers.summary import AREA, BASELINE
from leaderboard.numbers.variants import Against, against_baseline
from leaderboard.results import Results
from leaderboard.rounding import fixed
from leaderboard.statistics.verdict import Compared
from leaderboard.text import one_line, words

# Longer tables are for `compare` and for programs.
MOST = 200
COLUMNS = ("Difference", "95 % interval", "Effect (sd)", "Corrected p", "Seeds (n)")
_CLEAR = 3  # decimals of a p-value; below, it is told as smaller than the last


def variant_blocks(results: Results) -> Iterator[Block]:
    """Heading, table and how to read it, or that it would be too long; nothing without two seeds in
    common."""
    if _at_most(results) > MOST:
        if _has_pairs(results):
            yield Heading(2, f"Against {BASELINE}")
            attacked = f". Under attack, accuracy is compared with {BASELINE} in the tables below"
            yield Text(
                f"With more than {MOST} numbers to compare there is no table here"
                f"{attacked if results.samples else ''}; bench report with --format csv writes "
                "every number, seed by seed."
            )
        return
    found = against_baseline(results)
    if not found:
        return
    yield Heading(2, f"Against {BASELINE}")
    yield Grid(
        f"Differences to {BASELINE}, seeds paired",
        ("Data set", "Backbone", "Variant", "Number"),
        COLUMNS,
        tuple(_line(results, one) for one in found),
        ("Verdict",),
    )
    text = (
        f"Each number of a variant less that of {BASELINE}, seed by seed and, under attack, image "
        "by image. The interval and p are of a moderated t-test (Smyth, 2004), whose variance is "
        "pooled over all comparisons of the same number; p is corrected over this whole table "
        "(Benjamini and Hochberg, 1995). Effect is the mean difference over its standard deviation "
        "between seeds. An interval is of its number alone, while verdicts go by the corrected p: "
        "of many intervals some leave 0 out by chance. Inconclusive: more seeds are needed, or "
        "they are equal by chance, which leaves no spread to go by (–)."
    )
    if results.localized or results.removed:
        text += (
            " What heatmaps cover and what their pixels are worth is compared further below, on "
            "the images that all variants classify correctly."
        )
    yield Text(text)


def _at_most(results: Results) -> int:
    """How many lines there may be, told without comparing."""
    nets = {(r.dataset, r.backbone, r.variant) for r in results.rows if r.variant != BASELINE}
    headlines = sum(info.headline and info.better != "neither" for info in results.metrics.values())
    attacked = {(s.dataset, s.backbone, s.variant, s.attack) for s in results.samples}
    return len(nets) * headlines + len(attacked)


def _has_pairs(results: Results) -> bool:
    """Whether some variant and the bottom-up network of its backbone have two seeds in common."""
    seeds: dict[tuple[str, str], dict[str, set[int]]] = {}
    for row in results.rows:
        by_variant = seeds.setdefault((row.dataset, row.backbone), {})
        by_variant.setdefault(row.variant, set()).add(row.seed)
    return any(
        len(own & by_variant.get(BASELINE, set())) > 1
        for by_variant in seeds.values()
        for variant, own in by_variant.items()
        if variant != BASELINE
    )


def _line(results: Results, one: Against) -> tuple[Cell, ...]:
    key = one.key
    info = results.metrics.get((key.measure, key.metric))
    decimals = info.decimals if info else 1
    unit = "points" if key.metric == AREA or (info and info.unit == "%") else ""
    return (
        *map(Cell, (key.dataset, key.backbone, key.variant, _named(results, one))),
        *compared_cells(one.compared, decimals, unit),
        _verdict(results, one),
    )


def compared_cells(compared: Compared, decimals: int, unit: str) -> tuple[Cell, ...]:
    """A comparison under `COLUMNS`."""
    ends = (compared.difference, compared.low, compared.high)
    numbers = [fixed(value, decimals, sign=True) for value in ends]
    p = fixed(compared.corrected, _CLEAR)
    if compared.corrected < 10**-_CLEAR:
        p = f"< {10**-_CLEAR:g}"
    told = math.isfinite(compared.low)
    return (
        Cell(f"{numbers[0]} {unit}".rstrip()),
        Cell(f"[{numbers[1]}, {numbers[2]}]" if told else "–"),
        Cell("–" if compared.effect is None else fixed(compared.effect, 1, sign=True)),
        Cell(p if told else "–"),
        Cell(str(compared.count)),
    )


def _verdict(results: Results, one: Against) -> Cell:
    sides = one.key, one.key._replace(variant=BASELINE)
    text, is_flagged = flagged(one.verdict, doubts_between(results, sides))
    return Cell(text, "flag" if is_flagged else "value")


def _named(results: Results, one: Against) -> str:
    """`Gaussian blur: median L2`, `Accuracy`."""
    item = one.key.measure.partition("/")[2]
    if one.key.metric == AREA:
        return f"{words(item)}: mean accuracy to B"
    info = results.metrics[one.key.measure, one.key.metric]
    title = one_line(info.title) or words(one.key.metric)
    return f"{words(item)}: {title}" if item else title[:1].upper() + title[1:]
