"""Whatever plugins and suites name, a report says it and does nothing else.

The pages are read back by parsers of others: markdown-it (CommonMark with tables and raw HTML
switched on) and the standard library's HTML parser.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console

import leaderboard
from leaderboard import AttackInfo, Failure, MetricInfo, Missing, Results, Row
from leaderboard.text import one_line

pytestmark = pytest.mark.usefixtures("drawn_once")
PIECES = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[a](javascript:alert(1))",
    "![a](http://evil.example/x.png)", "<http://evil.example>", "javascript:alert(1)", "|", "\\|",
    "\n", "\r\n", "\n\n# h", "\n| a | b |\n|---|---|", "```", "~~~", "`", "*", "_", "**", "<!--",
    "-->", "&lt;", "&#60;", "&", "<", ">", '"', "'", "\\", "]", "(", "$x$", "\x1b[31m",
    "\x1b]0;x\x07",
    "\x00", "\u202e", "\u2028", "\ud800", "[ref]: http://evil.example", "- ", "1. ", "    ", "\t",
    "www.evil.example", "http://evil.example", "=====", "-----", "</main>", "</td></table>", "é",
    "",
]  # fmt: skip
hostile = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=4).map("".join)
fuzz = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def results(draw: st.DrawFn) -> Results:
    """Two networks with a metric each, and strange words wherever a word can stand."""
    return made(lambda: draw(hostile))


def made(say: Callable[[], str]) -> Results:
    dataset, measure, metric = say(), say(), say()
    backbones = ["a" + say(), "b" + say()]
    place = dataset, backbones[0], say(), 0
    info = MetricInfo(say(), say(), "higher", 1, True)
    return Results(
        title=say(),
        rows=tuple(Row(dataset, b, "bu", 0, measure, metric, 1.5, info.unit) for b in backbones),
        metrics={(measure, metric): info},
        failures=(Failure(say(), *place, say(), say()),),
        missing=(Missing(say(), *place, say()),),
        nets=tuple((dataset, b, "bu") for b in backbones),
        attacks={say(): AttackInfo("score", say())},
        provenance={"command": say(), "suite": say(), say(): say(), "hardware": say()},
        notes=(say(), say()),
    )


def tokens(text: str) -> Iterator[Token]:
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    for token in parser.parse(text):
        yield token
        yield from token.children or ()


def tables(text: str) -> list[list[int]]:
    """Of each table, the number of cells of its head and of each line."""
    found: list[list[int]] = []
    for token in tokens(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append(0)
        elif token.type in ("th_open", "td_open"):
            found[-1][-1] += 1
    return found


@fuzz
@given(results())
def test_markdown(found: Results) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = leaderboard.render_markdown(found, Path(folder)).read_text("utf-8")
    assert all(c.isprintable() or c in "\n\u00a0\u200d" or ord(c) > 127 for c in text)
    kinds = Counter(token.type for token in tokens(text))
    for forbidden in ("html_block", "html_inline", "s_open", "hr"):
        assert not kinds[forbidden], (forbidden, text)
    # Notes and failures may have code in them, of nothing but what they say between backticks.
    said = [one_line(part) for part in (*found.notes, *(bad.text for bad in found.failures))]
    for token in tokens(text):
        if token.type == "code_inline":
            assert any(token.content in part for part in said), text
    for token in tokens(text):
        if token.type == "link_open":
            local = r"figures/[a-z0-9-]+\.png|#failed-and-missing-cells|#how-it-was-produced"
            assert re.fullmatch(local, str(token.attrs["href"])), text
        if token.type == "image":
            assert re.fullmatch(r"figures/[a-z0-9-]+\.png", str(token.attrs["src"])), text
    # Title, overview, data set, gaps, provenance; a board may say its title in a further one.
    assert kinds["heading_open"] in (4, 5, 6), text
    assert kinds["fence"] >= 2
    assert not kinds["code_block"], text
    boards = tables(text)
    assert boards
    for columns, *lines in boards:
        assert columns > 0
        assert set(lines) == {columns}, text
    assert all(token.info in ("sh", "yaml", "") for token in tokens(text) if token.type == "fence")


class Reader(HTMLParser):
    """Tags, their attributes, and whether they close in order."""

    VOID = ("meta", "img")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.odd: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.odd.append(tag)

    def handle_comment(self, data: str) -> None:
        self.odd.append(f"comment {data}")


def read_html(found: Results) -> Reader:
    with tempfile.TemporaryDirectory() as folder:
        text = leaderboard.render_html(found, Path(folder) / "page.html").read_text("utf-8")
    reader = Reader()
    reader.feed(text)
    assert (reader.odd, reader.open) == ([], [])
    return reader


@cache
def harmless() -> tuple[set[str], set[str], int]:
    """Tags and attributes of a page of plain words, code in notes besides, and how many scripts it
    has."""
    seen = read_html(made(lambda: "word")).seen
    keys = {key for _, attributes in seen for key in attributes}
    return {"code", *(tag for tag, _ in seen)}, keys, [tag for tag, _ in seen].count("script")


@fuzz
@given(results())
def test_html(found: Results) -> None:
    tags, keys, scripts = harmless()
    seen = read_html(found).seen
    for tag, attributes in seen:
        assert tag in tags, tag
        assert attributes.keys() <= keys, attributes
        assert "src" not in attributes or str(attributes["src"]).startswith("data:image/png;")
        assert "href" not in attributes or str(attributes["href"]).startswith("#")
        assert not [key for key in attributes if key.startswith("on")]
    assert [tag for tag, _ in seen].count("script") <= scripts


@fuzz
@given(results())
def test_data_and_terminal(found: Results) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out"
        table = leaderboard.render_csv(found, path).read_bytes().decode()
        rows = list(csv.reader(io.StringIO(table, newline="")))
        assert [len(row) for row in rows] == [8, 8, 8]
        document = json.loads(leaderboard.render_json(found, path).read_text("utf-8"))
    assert len(document["rows"]) == 2
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    console.print(leaderboard.terminal_table(found))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in said
    assert "\x07" not in said
    assert "\u202e" not in said


@example("\x1b[31m\u202e\n\x00")
@given(st.text())
def test_what_a_terminal_would_obey_is_escaped(text: str) -> None:
    from bench.errors import visible

    assert all(c.isprintable() or c == "\n" for c in visible(text))
    assert not text.isprintable() or visible(text) == text
