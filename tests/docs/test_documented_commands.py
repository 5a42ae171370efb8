"""Every command of the pages is one: its options, files, extras and targets exist."""

from __future__ import annotations

import argparse
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from documents import PAGES, ROOT, Block, all_blocks, bench_words, blocks, commands, prose

from bench.cli import build_parser

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Run by the slow tests alone: what they do is not ours to check.
OTHERS = ("dask", "kill")


def check(words: list[str], block: Block) -> None:
    ours = bench_words(words)
    if ours is not None:
        build_parser().parse_args(ours)
    elif words[0] == "make":
        for target in words[1:]:
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target
    elif words[:2] == ["pip", "install"]:
        for extra in re.findall(r"topdown-bench\[(\w+)\]", " ".join(words)):
            assert extra in PROJECT["project"]["optional-dependencies"], extra
    elif words[:3] == ["python", "-m", "pytest"]:
        check_pytest(words[3:])
    elif words[0] == "python":
        files = {one.file for one in blocks(block.page)}
        assert words[1] in files or (ROOT / words[1]).is_file(), words
    else:
        assert block.not_run or words[0] in OTHERS, f"{block}: what is '{words[0]}'?"


def check_pytest(words: list[str]) -> None:
    marks = {mark.partition(":")[0] for mark in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
    if "-m" in words:
        assert words[words.index("-m") + 1] in marks
    for word in words:
        assert "/" not in word or (ROOT / word).exists(), word


@pytest.mark.parametrize("block", all_blocks("bash"), ids=str)
def test_commands_are_commands(block: Block) -> None:
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    if not block.not_run or "for i in" not in block.text:
        for words in commands(block):
            check(words, block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_sentences_are_commands(page: Path) -> None:
    """`bench check` and the like: the verb and its flags exist. Capitals stand for something."""
    verbs = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    known = {name: set(parser._option_string_actions) for name, parser in verbs.choices.items()}
    for said in re.findall(r"`bench ([^`]+)`", prose(page)):
        verb, *words = said.split()
        if verb == "VERB":
            continue
        assert verb in known, f"{page}: bench {said}"
        for word in words:
            assert not word.startswith("--") or word in known[verb], f"{page}: bench {said}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_indented_blocks_hold_make_alone(page: Path) -> None:
    """Other commands stand in fences, where the tests above find them."""
    programs = r"^    ((?:bench|python|make|pip|dask|\.venv/\S+) .*)$"
    for line in re.findall(programs, prose(page), re.MULTILINE):
        words = line.split()
        assert words[0] == "make", f"{page}: {line}"
        assert re.search(rf"^{words[1]}:", MAKEFILE, re.MULTILINE), line


def test_there_are_commands_enough() -> None:
    """So that a change of the pages' form does not leave the tests with nothing to do."""
    ran = [words for one in all_blocks("bash") if not one.not_run for words in commands(one)]
    assert sum(bench_words(words) is not None for words in ran) >= 40
