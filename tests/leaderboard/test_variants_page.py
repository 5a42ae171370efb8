"""The table of variants against bu."""

from __future__ import annotations

from dataclasses import replace

from synthetic_results import results

from leaderboard.blocks import Grid, Heading, Text
from leaderboard.numbers.variants import against_baseline
from leaderboard.sections.variants import variant_blocks


def grid(**more: object) -> Grid:
    (found,) = [b for b in variant_blocks(results(seeds=(0, 1, 2), **more)) if isinstance(b, Grid)]  # type: ignore[arg-type]
    return found


def test_a_line_for_each_comparison_with_its_verdict() -> None:
    data = results(seeds=(0, 1, 2))
    heading, table, text = variant_blocks(data)
    assert isinstance(heading, Heading)
    assert isinstance(text, Text)
    assert isinstance(table, Grid)
    wanted = against_baseline(data)
    assert [line[-1].text for line in table.lines] == [one.verdict for one in wanted]
    assert [line[4].text.split()[0] for line in table.lines[:1]] == [
        f"{wanted[0].compared.difference:+.2f}"
    ]
    names = [line[3].text for line in table.lines]
    assert names[0] == "Top-1"
    assert "Salt and pepper: mean accuracy to B" in names
    assert "Salt and pepper: median L2" in names
    assert all(line[2].text == "td" for line in table.lines)


def test_differences_have_signs_and_points() -> None:
    line = next(line for line in grid().lines if line[3].text == "Top-1")
    assert line[4].text.endswith(" points")
    assert line[4].text[0] in "+-"
    assert line[5].text.startswith("[")
    assert line[8].text == "3"


def test_nothing_is_told_of_one_seed_or_of_one_variant() -> None:
    assert not list(variant_blocks(results(seeds=(0,))))
    assert not list(variant_blocks(results(seeds=(0, 1), variants=("bu",))))


def test_a_table_that_would_be_too_long_is_not_missing_without_a_word() -> None:
    base = results(seeds=(0, 1))
    rows = tuple(replace(r, backbone=f"net{k}") for k in range(60) for r in base.rows)
    heading, text = variant_blocks(replace(base, rows=rows, samples=()))
    assert isinstance(heading, Heading)
    assert isinstance(text, Text)
    assert "more than 200 numbers" in text.text
    assert "Under attack" not in text.text, "nothing was attacked"
    alone = tuple(row for row in rows if row.seed == 0)
    assert not list(variant_blocks(replace(base, rows=alone, samples=())))
