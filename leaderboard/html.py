"""The leaderboard as one self-contained HTML page: no script, no outside request."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path

from leaderboard.blocks import Block, Bullets, Cell, Figure, Grid, Heading, Text
from leaderboard.files import write_atomic
from leaderboard.kept import Kept
from leaderboard.page import LEGEND, NOTHING, blocks, heading, listed
from leaderboard.results import Results
from leaderboard.text import html_block, html_text, one_line

# The policy holds the page to what it promises: whatever a name may smuggle in loads nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_CSS = """
:root { color-scheme: light dark; --text: #16191f; --soft: #5b6270; --line: #d9dce2;
  --back: #fff; --head: #f4f5f7; --best: #0b6b2b; --bad: #b3141a;
  --flag: #7a4b00; --flagged: #fff0cc; }
@media (prefers-color-scheme: dark) { :root { --text: #e8eaed; --soft: #a3aab6; --line: #3a3f48;
  --back: #14161a; --head: #1f2228; --best: #6fd58c; --bad: #ff8a85;
  --flag: #ffd37a; --flagged: #3a2d10; } }
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
.flag { color: var(--flag); background: var(--flagged); border-radius: 4px; padding: .1rem .4rem; }
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


def render_html(results: Results, path: Path, kept: Path | None = None) -> Path:
    """Write the whole leaderboard as one file, figures embedded; follows light and dark. `kept` is
    as for `render_markdown`."""
    return write_atomic(path, "\n".join(_page(results, Kept(kept))) + "\n")


def _page(results: Results, kept: Kept) -> Iterator[str]:
    title = f"Leaderboard: {html_text(results.title)}"
    found = blocks(results, kept)
    kept.forget_others()
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n<main>"
    yield f"<h1>{title}</h1>\n<p>{html_text(LEGEND if found else NOTHING)}</p>"
    yield from _list(results.notes)
    for block in found:
        yield from _block(block)
    yield from _gaps(results)
    yield from _provenance(results)
    yield "</main>\n</body>\n</html>"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading(level, text):
            yield f"<h{level}>{html_text(text)}</h{level}>"
        case Text(text):
            yield f"<p>{html_text(text)}</p>"
        case Bullets(entries):
            items = (
                f"<strong>{html_text(term)}</strong>: {html_text(text)}"
                if term
                else html_text(text)
                for term, text in entries
            )
            yield "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"
        case Grid():
            yield from _grid(block)
        case Figure(_, image, alt, caption):
            data = b64encode(image).decode("ascii")
            yield f'<figure>\n<img alt="{html_text(alt)}" src="data:image/png;base64,{data}">'
            yield f"<figcaption>{html_text(caption)}</figcaption>\n</figure>"


def _grid(grid: Grid) -> Iterator[str]:
    # Focusable, so that a wide table can be scrolled with the keyboard.
    caption = html_text(grid.caption)
    yield f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0">'
    yield f"<table>\n<caption>{caption}</caption>\n<thead>\n<tr>"
    kinds = ("name",) * len(grid.names) + ("number",) * len(grid.numbers)
    kinds += ("remark",) * len(grid.remarks)
    titles = (*grid.names, *grid.numbers, *grid.remarks)
    for kind, title in zip(kinds, titles, strict=True):
        yield f'<th scope="col" class="{kind}">{html_text(title)}</th>'
    yield "</tr>\n</thead>\n<tbody>"
    for line in grid.lines:
        yield "<tr>" + "".join(map(_cell, kinds, line)) + "</tr>"
    yield "</tbody>\n</table>\n</div>"


def _cell(kind: str, cell: Cell) -> str:
    text = html_text(cell.text)
    if kind == "name":
        return f'<th scope="row">{text}</th>'
    if cell.state == "flag":
        return f'<td class="{kind}"><span class="flag">⚠ {text}</span></td>'
    style = kind if cell.state == "value" else f"{kind} {cell.state}"
    return f'<td class="{style}">{f"<strong>{text}</strong>" if cell.best else text}</td>'


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
