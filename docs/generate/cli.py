"""The page of the command line, from its own parser: verbs, arguments and help texts."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from bench.cli import build_parser

HEAD = """# Command line

<!-- Written by docs/generate/reference.py from `bench/cli.py`; not to be edited. -->

`bench VERB ...`, or `python -m bench VERB ...`. Bad usage or input ends with one line on
standard error and exit code 2.
"""


def verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Every verb: its name, its line of help, and its parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, sub in action.choices.items():
                yield name, helps.get(name, ""), sub


def cell(text: str) -> str:
    """Text as a cell of a Markdown table: bars and line ends would break it."""
    return " ".join(text.replace("|", "\\|").split())


def prose(text: str) -> str:
    """A help text as a cell: outside of backquotes, what looks like markup is meant."""
    parts = cell(text).split("`")
    parts[::2] = [re.sub(r"([*_])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


def row(action: argparse.Action) -> str:
    """One argument: how it is written, and what it does."""
    value = action.metavar or ""
    if action.choices is not None:
        value = ", ".join(map(str, action.choices))
    elif not value and action.nargs != 0:
        value = action.dest.upper()
    value = value if isinstance(value, str) else " ".join(value)
    several = " ..." if action.nargs in ("+", "*") else ""
    if action.option_strings:
        shown = " ".join([", ".join(action.option_strings), f"{value}{several}"]).strip()
    else:
        shown = f"[{value}]" if action.nargs == "?" else f"{value}{several}"
    text = action.help or ""
    if action.required and action.option_strings:
        text += " (must be given)"
    return f"| `{cell(shown)}` | {prose(text)} |"


def text() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, line, parser in verbs(build_parser()):
        parts += [f"## bench {name}", "", f"{line[:1].upper()}{line[1:]}.", ""]
        if parser.description:
            parts += [prose(parser.description), ""]
        shown = [a for a in parser._actions if not isinstance(a, argparse._HelpAction)]
        parts += ["| argument | what it does |", "|---|---|", *map(row, shown), ""]
    return "\n".join(parts).rstrip() + "\n"
