"""The leaderboard as a Markdown page with figures beside it, for a code-hosting site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from leaderboard.board import Cell, Table
from leaderboard.files import write_atomic
from leaderboard.page import GAPS, LEGEND, NOTHING, Part, heading, listed, parts
from leaderboard.results import Results
from leaderboard.text import fenced, markdown, one_line

_CODE = {"command": "sh", "suite": "yaml"}  # provenance that is code even on a single line


def render_markdown(results: Results, folder: Path) -> Path:
    """Write `folder`/leaderboard.md and `folder`/figures/*.png; gives the page's path.

    The same results give the same bytes. Figures come first, so that no page ever names one that
    is not there.
    """
    pieces = parts(results)
    for part in pieces:
        if part.figure is not None:
            write_atomic(folder / "figures" / f"{part.figure.name}.png", part.figure.png)
    return write_atomic(folder / "leaderboard.md", "\n\n".join(_page(results, pieces)) + "\n")


def _page(results: Results, pieces: Sequence[Part]) -> Iterator[str]:
    yield f"# Leaderboard: {markdown(results.title)}"
    yield LEGEND if pieces else NOTHING
    if results.notes:
        yield "\n".join(f"- {markdown(note)}" for note in results.notes)
    for part in pieces:
        yield from _part(part)
    yield from _gaps(results)
    if results.provenance:
        yield "## How it was produced"
        yield from _provenance(results)


def _part(part: Part) -> Iterator[str]:
    yield f"## {markdown(part.section.dataset)}"
    for table in part.section.tables:
        if table.title:
            yield f"### {markdown(table.title)}"
        yield _table(table)
    if part.section.has_gaps:
        yield GAPS
    if part.figure is not None:
        yield f"![{markdown(part.figure.alt)}](figures/{part.figure.name}.png)"
        yield f"*{markdown(part.figure.caption)}*"


def _table(table: Table) -> str:
    # Not padded to equal widths: one changed number is then one changed line in a diff.
    titles = ["Backbone", "Variant", "Seeds (n)", *(column.heading for column in table.columns)]
    lines = [
        "| " + " | ".join(markdown(title) for title in titles) + " |",
        "| :--- | :--- |" + " ---: |" * (len(titles) - 2),
    ]
    for line in table.lines:
        names = [markdown(line.net.backbone), markdown(line.net.variant), line.seeds]
        lines.append("| " + " | ".join(names + [_cell(cell) for cell in line.cells]) + " |")
    return "\n".join(lines)


def _cell(cell: Cell) -> str:
    text = cell.text.replace(" ", "\u00a0")  # a number does not break before its unit
    return f"**{text}**" if cell.best else text


def _gaps(results: Results) -> Iterator[str]:
    if not (results.failures or results.missing):
        return
    yield "## Failed and missing cells"
    if results.failures:
        yield f"Failed ({len(results.failures)}):"
        yield "\n".join(
            f"- {markdown(bad.cell)}: {markdown(one_line(bad.error, 300))}"
            for bad in results.failures
        )
    if results.missing:
        names, rest = listed([gone.cell for gone in results.missing])
        yield f"Never reached ({len(results.missing)}):"
        yield "\n".join(f"- {line}" for line in [*map(markdown, names), *([rest] if rest else [])])


def _provenance(results: Results) -> Iterator[str]:
    items = results.provenance.items()
    for block, group in groupby(items, key=lambda item: _is_block(*item)):
        if block:
            for key, text in group:
                yield f"{markdown(heading(key))}:"
                yield fenced(text, _CODE.get(key, ""))
        else:
            yield "\n".join(f"- {markdown(heading(key))}: {markdown(text)}" for key, text in group)


def _is_block(key: str, text: str) -> bool:
    return key in _CODE or "\n" in text.strip()
