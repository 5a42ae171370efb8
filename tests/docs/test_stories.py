"""Every page, from top to bottom, as a reader would type it; what it shows is what comes out.

Figures differ from machine to machine and are not compared, the words and the form are.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import PAGES, ROOT, Block, blocks, write

RUN = [page for page in PAGES if any(b.language == "bash" and not b.not_run for b in blocks(page))]
LONGEST = 900.0  # seconds that a block may take


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder with a `.venv` whose python and bench are these."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, words in (("python", ""), ("bench", " -m bench")):
        path = programs / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n', encoding="utf-8")
        path.chmod(0o755)
    return tmp_path


def run(block: Block, folder: Path) -> str:
    path = os.pathsep.join(
        [str(folder / ".venv" / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    words = ["bash", "-euc", block.text]
    if block.language == "python":
        words = [sys.executable, "-c", block.text]
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode in block.exits, f"{block}\n{done.stdout}"
    return done.stdout


def form(text: str) -> list[str]:
    """Lines without what differs between runs: figures and their units, widths of columns."""
    text = re.sub(r"[-+]?\b\d[\d.,:]*|∞|\binf\b", "#", text)
    text = re.sub(r"# (?:ms|s|min|h)\b", "# t", text)
    text = re.sub(r"─+", "─", text)
    return [line for line in (" ".join(line.split()) for line in text.splitlines()) if line]


def assert_shown(block: Block, output: str) -> None:
    """Each stretch between lines of `...` comes in the output, in this order."""
    lines, at = form(output), 0
    for part in re.split(r"^\.\.\.$", block.text, flags=re.MULTILINE):
        wanted = form(part)
        while wanted and lines[at : at + len(wanted)] != wanted:
            at += 1
            assert at < len(lines), f"{block}: not printed:\n{part}\n--- but\n{output}"
        at += len(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_as_it_stands(page: Path, place: Path) -> None:
    output = ""
    for block in blocks(page):
        if block.file:
            write(block, place)
        elif block.language in ("bash", "python") and not block.not_run:
            output = run(block, place)
        elif block.language == "text" and not block.not_run:
            assert_shown(block, output)
