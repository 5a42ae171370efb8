"""How the networks of a data set stand in the number that they are ranked by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from leaderboard.blocks import Cell
from leaderboard.numbers.board import Column, Line, Net, Section
from leaderboard.numbers.ranking import Rank, Spread, ranks, spread, unbeaten
from leaderboard.numbers.summary import Key, by_seed
from leaderboard.results import Results


@dataclass(frozen=True, slots=True)
class Standing:
    """A network on a data set: seeds that were measured, what its table says in the column that
    networks are ranked by, spread and rank there. Without a number in that column the spread is
    None, and `seeds` are those of its other numbers."""

    net: Net
    seeds: int
    cell: Cell
    spread: Spread | None
    rank: Rank | None = None
    unbeaten: bool = False


def ranked_by(section: Section) -> Column | None:
    """The column that networks are ranked by (accuracy, as a rule): the first with a better side;
    None where there is none."""
    columns = [column for table in section.tables for column in table.columns]
    return next((c for c in columns if c.metric and c.info.better != "neither"), None)


def standings(results: Results, section: Section) -> tuple[Column | None, list[Standing]]:
    """The column that networks are ranked by, and how they stand in it. Those of which nothing is
    known, not even a failure, are left out."""
    values = by_seed(results.rows)
    column = ranked_by(section)
    if column is None or column.info.better == "neither":
        return None, []
    found: dict[Net, Mapping[int, float]] = {}
    for line in section.tables[0].lines:
        seeds = values.get(Key(*line.net, column.measure, column.metric))
        if seeds:
            found[line.net] = seeds
    spreads = [spread([*seeds.values()], exact=column.is_exact) for seeds in found.values()]
    better = column.info.better
    several = sum(one.low is not None for one in spreads) > 1  # first of one says nothing
    places = ranks(spreads, better) if several else [None] * len(found)
    leading = unbeaten(spreads, better)
    ranked = dict(zip(found, zip(spreads, places, leading, strict=True), strict=True))
    stood = []
    for number, (line, cell) in enumerate(_column(section, column)):
        if line.net in ranked:
            stood.append(Standing(line.net, len(found[line.net]), cell, *ranked[line.net]))
        elif line.measured or _failed(section, number):
            stood.append(Standing(line.net, line.measured, cell, None))
    return column, stood


def _column(section: Section, column: Column) -> Iterator[tuple[Line, Cell]]:
    """The lines of a data set with what they say in a column."""
    table = next(one for one in section.tables if column in one.columns)
    place = table.columns.index(column)
    for line in table.lines:
        yield line, line.cells[place]


def _failed(section: Section, number: int) -> bool:
    """Whether anything of a network, by the number of its line, has failed."""
    lines = (table.lines[number] for table in section.tables)
    return any(cell.state == "failed" for line in lines for cell in line.cells)
