"""The leaderboard as one self-contained HTML page that requests nothing.

Everything is in the markup and readable without script; the script (`assets/`) adds sorting,
filters, details and switchable curves to it.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path

from leaderboard.blocks import Block, Bullets, Figure, Grid, Heading, Text
from leaderboard.files import write_atomic
from leaderboard.html.board import ResultsBoard, cell_html
from leaderboard.html.curves import curves_data
from leaderboard.kept import Kept
from leaderboard.page import GAPS, LEGEND, NOTHING, blocks, gone_by_reason, heading, listed
from leaderboard.quantity import SOME_INFINITE
from leaderboard.results import Results
from leaderboard.text import capital, html_block, html_prose, html_text, slug

# One module on the page, put together in this order.
_SCRIPTS = (
    "base.js", "board.js", "filters.js", "details.js", "chart.js", "curves.js", "figures.js",
    "main.js",
)  # fmt: skip
# JSON may hold these, the text of a script element must not. What else is special is not ASCII,
# and escaped by `json`.
_UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_IDS = ("main", "results", "curves", "gaps", "provenance", "board", "details", "count")
_PNG_SIZE = slice(16, 24)  # width and height in the header, four bytes each


def render_html(results: Results, path: Path, kept: Path | None = None) -> Path:
    """Write the whole leaderboard as one file, figures embedded; follows light and dark. `kept` is
    as for `render_markdown`."""
    return write_atomic(path, "\n".join(_page(results, Kept(kept))) + "\n")


def _page(results: Results, kept: Kept) -> Iterator[str]:
    found = blocks(results, kept, tables=False)
    board = ResultsBoard(results)
    curves = curves_data(results)
    kept.forget_others()
    parts = {
        ("results", "Results"): [*_results(board)],
        ("curves", "Accuracy loss curves"): [*_curves(curves)],
        **_sections(found),
        ("gaps", "Failed and missing cells"): [*_gaps(results)],
        ("provenance", "How it was produced"): [*_provenance(results)],
    }
    parts = {name: part for name, part in parts.items() if part}
    title = f"Leaderboard: {html_text(results.title)}"
    yield from _head(title, [*parts])
    yield f"<p>{html_text(LEGEND if board.lines else NOTHING)}</p>"
    yield from _list(results.notes, html_prose)
    for (name, text), part in parts.items():
        # Drawn by the script, and nothing without it.
        hidden = " hidden" if name == "curves" else ""
        yield f'<section aria-labelledby="{name}"{hidden}>\n<h2 id="{name}">{html_text(text)}</h2>'
        yield from part
        yield "</section>"
    yield "</main>"
    yield _data("board-data", json.dumps(board.data(), separators=(",", ":")))
    if curves:
        yield _data("curves-data", curves)
    yield "</body>\n</html>"


def _head(title: str, entries: Sequence[tuple[str, str]]) -> Iterator[str]:
    style, theme = asset("page.css"), asset("theme.js")
    script = "\n".join(map(asset, _SCRIPTS))
    # The policy holds the page to what it promises: whatever a name may smuggle in loads nothing,
    # and no script runs but these two.
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(theme)} {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>{style}</style>"
    # A module runs when the page is read to its end; the theme is set before anything shows.
    yield f'<script>{theme}</script>\n<script type="module">{script}</script>\n</head>'
    yield '<body>\n<a class="skip" href="#main">Skip to the results</a>'
    yield f"<header>\n<h1>{title}</h1>\n</header>"
    if len(entries) > 1:
        yield '<nav aria-label="On this page">\n<ul>'
        for name, text in entries:
            hidden = " hidden" if name == "curves" else ""
            yield f'<li{hidden}><a href="#{name}">{html_text(text)}</a></li>'
        yield "</ul>\n</nav>"
    yield '<main id="main" tabindex="-1">'


@cache
def asset(name: str) -> str:
    """A style or script of the page, from `assets/`."""
    folder = resources.files("leaderboard.html") / "assets"
    return "\n" + (folder / name).read_text("utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode('ascii')}'"


def _data(name: str, document: str) -> str:
    """JSON for the script; nothing in it can end the element."""
    return f'<script type="application/json" id="{name}">{document.translate(_UNSAFE)}</script>'


def _sections(found: Sequence[Block]) -> dict[tuple[str, str], list[str]]:
    """The blocks by the heading of level 2 that they stand below: its identifier, and text."""
    taken = set(_IDS)
    parts: dict[tuple[str, str], list[str]] = {}
    own: list[str] = []
    for block in found:
        if isinstance(block, Heading) and block.level == 2:
            own = parts[slug(block.text, taken), block.text] = []
        else:
            own += _block(block)
    return parts


def _results(board: ResultsBoard) -> Iterator[str]:
    if not board.lines:
        return
    # Focusable, so that a wide table can be scrolled with the keyboard.
    label = html_text(f"Results: {board.caption}")
    yield '<p id="count" role="status"></p>'
    yield f'<div class="scroll tall" role="group" aria-label="{label}" tabindex="0">'
    yield from board.html()
    yield "</div>"
    if board.has_infinities:
        yield f"<p>{html_text(SOME_INFINITE)}</p>"
    if board.has_gaps:
        yield f"<p>{html_text(GAPS)}</p>"


def _curves(data: str) -> Iterator[str]:
    if data:
        yield f'<p class="caption">{html_text(json.loads(data)["caption"])}</p>'


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
        case Figure():
            yield from _figure(block)


def _figure(figure: Figure) -> Iterator[str]:
    size = figure.image[_PNG_SIZE]
    width, height = (int.from_bytes(part, "big") for part in (size[:4], size[4:]))
    data = b64encode(figure.image).decode("ascii")
    # With its size known, a picture that is decoded late moves nothing.
    place = f'width="{width}" height="{height}" decoding="async"'
    yield f'<figure>\n<img alt="{html_text(figure.alt)}" {place}'
    yield f'src="data:image/png;base64,{data}">'
    yield f"<figcaption>{html_text(figure.caption)}</figcaption>\n</figure>"


def _grid(grid: Grid) -> Iterator[str]:
    caption = html_text(grid.caption)
    yield f'<div class="scroll" role="group" aria-label="{caption}" tabindex="0">'
    yield f"<table>\n<caption>{caption}</caption>\n<thead>\n<tr>"
    kinds = ("name",) * len(grid.names) + ("number",) * len(grid.numbers)
    kinds += ("remark",) * len(grid.remarks)
    titles = (*grid.names, *grid.numbers, *grid.remarks)
    for kind, title in zip(kinds, titles, strict=True):
        yield f'<th scope="col" class="{kind}">{html_text(title)}</th>'
    yield "</tr>\n</thead>\n<tbody>"
    for line in grid.lines:
        yield "<tr>" + "".join(map(cell_html, kinds, line)) + "</tr>"
    yield "</tbody>\n</table>\n</div>"


def _gaps(results: Results) -> Iterator[str]:
    if results.failures:
        yield f"<p>Failed ({len(results.failures)}):</p>"
        yield from _list([bad.text for bad in results.failures], html_prose)
    for reason, cells in gone_by_reason(results.missing).items():
        names, rest = listed(cells)
        yield f"<p>{html_text(capital(reason))} ({len(cells)}):</p>"
        yield from _list([*names, *([rest] if rest else [])])


def _provenance(results: Results) -> Iterator[str]:
    if results.provenance:
        yield "<dl>"
        for key, text in results.provenance.items():
            several = "\n" in text.strip() or key == "command"
            # What is too wide can be scrolled with the keyboard.
            body = f'<pre tabindex="0">{html_block(text)}</pre>' if several else html_text(text)
            yield f"<dt>{html_text(heading(key))}</dt><dd>{body}</dd>"
        yield "</dl>"


def _list(entries: Sequence[str], text: Callable[[str], str] = html_text) -> Iterator[str]:
    if entries:
        yield "<ul>" + "".join(f"<li>{text(entry)}</li>" for entry in entries) + "</ul>"
