"""The leaderboard's tables for the end of a run in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from leaderboard.blocks import Cell
from leaderboard.numbers.batches import cost_notes
from leaderboard.numbers.board import Line, Section, Table, sections
from leaderboard.page import NOTHING, gone_by_reason
from leaderboard.results import Results
from leaderboard.text import one_line, words

_STYLES = {"value": "", "failed": "red", "missing": "dim", "flag": "yellow"}
_NAME = 28  # characters of a name; a longer one is shortened in its middle
_GAP = 3  # spaces that a column takes beside its text
_HEADS = ("Backbone", "Variant", "Seeds")


@dataclass(frozen=True, slots=True)
class TerminalTable:
    """A leaderboard for `Console.print`: tables as wide as the console, then what failed."""

    results: Results

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        boards = sections(self.results)
        if not boards:
            yield Text(NOTHING)
        for section in boards:
            for table in map(_measured, section.tables):
                if table.lines:
                    yield from _grids(section, table, options.max_width)
            for note in cost_notes(self.results, section.dataset):
                yield Text(f"note  {one_line(note)}", style=_STYLES["flag"])
            yield from _flags(self.results, section.dataset)
        for bad in self.results.failures:
            yield Text(f"failed  {one_line(bad.text)}", style="red")
        for reason, cells in gone_by_reason(self.results.missing).items():
            yield Text(f"{reason}: {len(cells)} cell{'s' * (len(cells) != 1)}", style="dim")


def terminal_table(results: Results) -> TerminalTable:
    """The tables, one below the other, each data set's flags below its own, then a line for each
    failure; for `Console.print`."""
    return TerminalTable(results)


def _flags(results: Results, dataset: str) -> Iterator[Text]:
    """What speaks against the numbers above, a line each."""
    from leaderboard.numbers.flags import BADGES, flags  # numpy loads only at the end of a run

    for flag in flags(results, dataset):
        net = one_line(f"{flag.backbone} {flag.variant}")
        attack = f" under {words(flag.attack)}" if flag.attack else ""
        said = f"{BADGES[flag.badge].name}: {flag.finding}"
        yield Text(f"flag  {net}{attack}: {one_line(said)}", style=_STYLES["flag"])


def _measured(table: Table) -> Table:
    """The table without the rows and columns in which nothing was measured or failed: of a run
    that is asked for a few cells of many (`--only`) nearly all. How many lack is said below."""
    lines = [line for line in table.lines if any(map(_is_there, line.cells))]
    picked = [
        index
        for index in range(len(table.columns))
        if any(_is_there(line.cells[index]) for line in lines)
    ]
    return replace(
        table,
        columns=tuple(table.columns[index] for index in picked),
        lines=tuple(
            replace(line, cells=tuple(line.cells[index] for index in picked)) for line in lines
        ),
    )


def _is_there(cell: Cell) -> bool:
    return cell.state != "missing"


def _grids(section: Section, table: Table, width: int) -> Iterator[Grid]:
    """The table, cut between columns where the console is too narrow: numbers never wrap."""
    names = [_names(line) for line in table.lines]
    fixed = 1 + sum(_width(texts) + _GAP for texts in zip(_HEADS, *names, strict=True))
    whole, least = _widths(table, words=False), _widths(table, words=True)
    # Headings wrap only where that saves cutting the table.
    widths = whole if fixed + sum(whole) + _GAP * len(whole) <= width else least
    start, used = 0, fixed
    for index, need in enumerate(widths):
        if used + need + _GAP > width and index > start:
            yield _grid(section, table, range(start, index), widths)
            start, used = index, fixed
        used += need + _GAP
    yield _grid(section, table, range(start, len(widths)), widths)


def _widths(table: Table, words: bool) -> list[int]:
    """Characters that each column needs for its cells and for its heading, whole or by words."""
    return [
        _width(
            (
                *(column.heading.split() if words else [column.heading]),
                *(line.cells[index].text for line in table.lines),
            )
        )
        for index, column in enumerate(table.columns)
    ]


def _width(texts: tuple[str, ...]) -> int:
    return max(map(cell_len, texts))


def _grid(section: Section, table: Table, picked: range, widths: list[int]) -> Grid:
    # `Text` throughout: in a plain string, rich would obey brackets in somebody's name.
    title = " · ".join(part for part in (one_line(section.dataset), table.title) if part)
    grid = Grid(
        title=Text(title if not picked.start else f"{title} (continued)", style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for name in _HEADS:
        grid.add_column(name, justify="right" if name == _HEADS[-1] else "left", no_wrap=True)
    for index in picked:
        heading = Text(table.columns[index].heading)
        grid.add_column(heading, justify="right", width=widths[index])
    for line in table.lines:
        grid.add_row(*map(Text, _names(line)), *(_cell(line.cells[index]) for index in picked))
    return grid


def _names(line: Line) -> tuple[str, str, str]:
    return one_line(line.net.backbone, _NAME), one_line(line.net.variant, _NAME), line.seeds


def _cell(cell: Cell) -> Text:
    return Text(cell.text, style="bold green" if cell.best else _STYLES[cell.state])
