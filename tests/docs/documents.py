"""The README and the pages of docs/, taken apart: their blocks, and what comments say of these.

A block that cannot run has `<!-- not run: REASON -->` before it, one that may end with another code
than 0 has `<!-- exits: 0 or 3 -->`. A first line such as `# my_suite.yaml` names the file that a
block is.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BEFORE = re.compile(r"<!-- (not run|exits): (.+?) -->\n\Z")
_FILE = re.compile(r"# ([\w./-]+\.(?:yaml|toml|py))$")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language and text, and what is said of running it."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str = ""
    exits: tuple[int, ...] = (0,)

    @property
    def file(self) -> str | None:
        """The name of the file that it is."""
        found = _FILE.match(self.text.partition("\n")[0])
        return found[1] if found else None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        said = _BEFORE.search(text, 0, fence.start())
        what, value = said.groups() if said else ("", "")
        found.append(
            Block(
                page,
                text.count("\n", 0, fence.start()) + 1,
                fence[1],
                fence[2],
                value if what == "not run" else "",
                tuple(map(int, value.split(" or "))) if what == "exits" else (0,),
            )
        )
    return tuple(found)


def all_blocks(*languages: str) -> list[Block]:
    return [one for page in PAGES for one in blocks(page) if one.language in languages]


def prose(page: Path) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def commands(block: Block) -> list[list[str]]:
    """The words of each line of a bash block: no comments, assignments, redirections, `&`."""
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            del words[0]
        if ">" in words:
            del words[words.index(">") :]
        if words and words[-1] == "&":
            del words[-1]
        if words:
            found.append(words)
    return found


def bench_words(words: list[str]) -> list[str] | None:
    """What follows `bench`, however that is called; None for another command."""
    if words[0] == "bench":
        return words[1:]
    if Path(words[0]).name == "python" and words[1:3] == ["-m", "bench"]:
        return words[3:]
    return None


def write_files(page: Path, folder: Path) -> None:
    """The files of a page as they are at its end, and those of the tutorial, which others go on
    from."""
    for source in (ROOT / "docs" / "tutorial.md", page):
        for block in blocks(source):
            if block.file:
                write(block, folder)


def write(block: Block, folder: Path) -> None:
    path = folder / str(block.file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
