"""The leaderboard as one self-contained HTML page: no script, no outside request."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path

from leaderboard.board import Cell, Table
from leaderboard.files import write_atomic
from leaderboard.page import GAPS, LEGEND, NOTHING, Part, heading, listed, parts
from leaderboard.results import Results
from leaderboard.text import html_block, html_text, one_line

# The policy holds the page to what it promises: whatever a name may smuggle in loads nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_CSS = """
:root { color-scheme: light dark; --text: #16191f; --soft: #5b6270; --line: #d9dce2;
  --back: #fff; --head: #f4f5f7; --best: #0b6b2b; --bad: #b3141a; }
@media (prefers-color-scheme: dark) { :root { --text: #e8eaed; --soft: #a3aab6; --line: #3a3f48;
  --back: #14161a; --head: #1f2228; --best: #6fd58c; --bad: #ff8a85; } }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 72rem; background: var(--back);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: left; }
thead th { background: var(--head); vertical-align: bottom; }
tbody th { font-weight: normal; }
.number { text-align: right; }
td.number { white-space: nowrap; }
td strong { color: var(--best); }
.failed { color: var(--bad); }
.missing, figcaption { color: var(--soft); }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
figcaption { font-size: .9rem; max-width: 60rem; }
li, dd { overflow-wrap: anywhere; }
dt { font-weight: 600; margin-top: .6rem; }
dd { margin: 0; }
pre { background: var(--head); padding: .7rem 1rem; border-radius: 6px; overflow-x: auto;
  margin: .2rem 0; font-size: .85rem; }
"""


def render_html(results: Results, path: Path) -> Path:
    """Write the whole leaderboard as one file, figures embedded; follows light and dark."""
    return write_atomic(path, "\n".join(_page(results)) + "\n")


def _page(results: Results) -> Iterator[str]:
    title = f"Leaderboard: {html_text(results.title)}"
    pieces = parts(results)
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n<main>"
    yield f"<h1>{title}</h1>\n<p>{html_text(LEGEND if pieces else NOTHING)}</p>"
    yield from _list(results.notes)
    for part in pieces:
        yield from _part(part)
    yield from _gaps(results)
    yield from _provenance(results)
    yield "</main>\n</body>\n</html>"


def _part(part: Part) -> Iterator[str]:
    yield f"<section>\n<h2>{html_text(part.section.dataset)}</h2>"
    for table in part.section.tables:
        yield from _table(table, table.title or "Results")
    if part.section.has_gaps:
        yield f"<p>{html_text(GAPS)}</p>"
    if part.figure is not None:
        data = b64encode(part.figure.png).decode("ascii")
        alt = html_text(part.figure.alt)
        yield f'<figure>\n<img alt="{alt}" src="data:image/png;base64,{data}">'
        yield f"<figcaption>{html_text(part.figure.caption)}</figcaption>\n</figure>"
    yield "</section>"


def _table(table: Table, caption: str) -> Iterator[str]:
    # Focusable, so that a wide table can be scrolled with the keyboard.
    yield f'<div class="scroll" role="region" aria-label="{html_text(caption)}" tabindex="0">'
    yield f"<table>\n<caption>{html_text(caption)}</caption>\n<thead>\n<tr>"
    yield '<th scope="col">Backbone</th><th scope="col">Variant</th>'
    for title in ("Seeds (n)", *(column.heading for column in table.columns)):
        yield f'<th scope="col" class="number">{html_text(title)}</th>'
    yield "</tr>\n</thead>\n<tbody>"
    for line in table.lines:
        names = html_text(line.net.backbone), html_text(line.net.variant)
        head = "".join(f'<th scope="row">{name}</th>' for name in names)
        cells = "".join(map(_cell, (Cell(line.seeds), *line.cells)))
        yield f"<tr>{head}{cells}</tr>"
    yield "</tbody>\n</table>\n</div>"


def _cell(cell: Cell) -> str:
    text = html_text(cell.text)
    kind = "number" if cell.state == "value" else f"number {cell.state}"
    return f'<td class="{kind}">{f"<strong>{text}</strong>" if cell.best else text}</td>'


def _gaps(results: Results) -> Iterator[str]:
    if not (results.failures or results.missing):
        return
    yield "<section>\n<h2>Failed and missing cells</h2>"
    if results.failures:
        yield f"<p>Failed ({len(results.failures)}):</p>"
        yield from _list([f"{bad.cell}: {one_line(bad.error, 300)}" for bad in results.failures])
    if results.missing:
        names, rest = listed([gone.cell for gone in results.missing])
        yield f"<p>Never reached ({len(results.missing)}):</p>"
        yield from _list([*names, *([rest] if rest else [])])
    yield "</section>"


def _provenance(results: Results) -> Iterator[str]:
    if results.provenance:
        yield "<section>\n<h2>How it was produced</h2>\n<dl>"
        for key, text in results.provenance.items():
            several = "\n" in text.strip() or key == "command"
            body = f"<pre>{html_block(text)}</pre>" if several else html_text(text)
            yield f"<dt>{html_text(heading(key))}</dt><dd>{body}</dd>"
        yield "</dl>\n</section>"


def _list(entries: Sequence[str]) -> Iterator[str]:
    if entries:
        yield "<ul>" + "".join(f"<li>{html_text(entry)}</li>" for entry in entries) + "</ul>"
