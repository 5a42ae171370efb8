"""The leaderboard as a Markdown page with figures beside it, for a code-hosting site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from leaderboard.blocks import Block, Bullets, Cell, Figure, Grid, Heading, Text
from leaderboard.files import write_atomic
from leaderboard.kept import Kept
from leaderboard.page import LEGEND, NOTHING, blocks, gone_by_reason, heading, listed
from leaderboard.results import Results
from leaderboard.text import capital, fenced, markdown, markdown_prose

_GAPS, _PRODUCED = "Failed and missing cells", "How it was produced"
_LINKED = 12  # figures that the head of the page links to
_CODE = {"command": "sh", "suite": "yaml"}  # provenance that is code even on a single line


def render_markdown(
    results: Results, folder: Path, kept: Path | None = None, *, svg: bool = False
) -> Path:
    """Write `folder`/leaderboard.md and `folder`/figures/*.png; gives the page's path. With `svg`,
    every figure is written as SVG too.

    The same results give the same bytes. Figures come first, so that no page ever names one that
    is not there. Parts that take long are kept in the folder `kept`, if one is given, and not made
    again while nothing that they depend on has changed.
    """
    parts = Kept(kept)
    found = blocks(results, parts)
    parts.forget_others()
    _write_figures(found, folder, parts.form)
    if svg:
        vectors = Kept(form="svg")
        _write_figures(blocks(results, vectors), folder, vectors.form)
    return write_atomic(folder / "leaderboard.md", "\n\n".join(_page(results, found)) + "\n")


def _write_figures(found: Sequence[Block], folder: Path, ending: str) -> None:
    for block in found:
        if isinstance(block, Figure):
            write_atomic(folder / "figures" / f"{block.name}.{ending}", block.image)


def _page(results: Results, found: Sequence[Block]) -> Iterator[str]:
    yield f"# Leaderboard: {markdown(results.title)}"
    yield LEGEND if found else NOTHING
    if results.notes:
        yield "\n".join(f"- {markdown_prose(note)}" for note in results.notes)
    links = _links(results, found)
    if links:
        yield links
    for block in found:
        yield _block(block)
    yield from _gaps(results)
    if results.provenance:
        yield f"## {_PRODUCED}"
        yield from _provenance(results)


def _links(results: Results, found: Sequence[Block]) -> str:
    """To what lies far down: the provenance, and the figures, which are files beside the page."""
    links = []
    if results.failures or results.missing:
        links.append(f"[{_GAPS}](#{_anchor(_GAPS)})")
    if results.provenance:
        links.append(f"[{_PRODUCED}](#{_anchor(_PRODUCED)})")
    figures = [block.name for block in found if isinstance(block, Figure)]
    # Names of files are made here, of letters, digits and dashes: nothing to escape.
    shown = [f"[{name}](figures/{name}.png)" for name in figures[:_LINKED]]
    if shown:
        rest = len(figures) - len(shown)
        links.append(f"Figures: {', '.join(shown)}" + (f" and {rest} more" if rest else ""))
    return " · ".join(links)


def _anchor(heading: str) -> str:
    """As code-hosting sites make them of a heading of plain words."""
    return heading.lower().replace(" ", "-")


def _block(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {markdown(text)}"
        case Text(text):
            return markdown(text)
        case Bullets(entries):
            return "\n".join(
                f"- **{markdown(term)}**: {markdown(text)}" if term else f"- {markdown(text)}"
                for term, text in entries
            )
        case Grid():
            return _grid(block)
        case Figure(name, _, alt, caption):
            return f"![{markdown(alt)}](figures/{name}.png)\n\n*{markdown(caption)}*"


def _grid(grid: Grid) -> str:
    # Not padded to equal widths: one changed number is then one changed line in a diff.
    titles = (*grid.names, *grid.numbers, *grid.remarks)
    marks = [":---"] * len(grid.names) + ["---:"] * len(grid.numbers)
    lines = [
        "| " + " | ".join(map(markdown, titles)) + " |",
        "| " + " | ".join(marks + [":---"] * len(grid.remarks)) + " |",
    ]
    numbers = range(len(grid.names), len(grid.names) + len(grid.numbers))
    for line in grid.lines:
        cells = [_cell(cell, number=place in numbers) for place, cell in enumerate(line)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(cell: Cell, *, number: bool) -> str:
    # Numbers come from here and need no escapes; one does not break before its unit.
    text = cell.text.replace(" ", "\u00a0") if number else markdown(cell.text)
    if cell.state == "flag":
        return f"⚠ {text}"
    return f"**{text}**" if cell.best else text


def _gaps(results: Results) -> Iterator[str]:
    if not (results.failures or results.missing):
        return
    yield f"## {_GAPS}"
    if results.failures:
        yield f"Failed ({len(results.failures)}):"
        yield "\n".join(f"- {markdown_prose(bad.text)}" for bad in results.failures)
    for reason, cells in gone_by_reason(results.missing).items():
        names, rest = listed(cells)
        yield f"{capital(reason)} ({len(cells)}):"
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
