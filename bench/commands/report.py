"""`bench report RUN`: render what a run has measured."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.errors import BenchError, visible
from bench.store.database import KEPT, Store
from bench.store.read import results
from leaderboard.results import Results


def main(args: argparse.Namespace) -> int:
    """Write the report and print its path."""
    import leaderboard

    store = Store.open(args.run)
    try:
        found = results(store)
    finally:
        store.close()
    file = "derived.csv" if args.format == "derived" else f"leaderboard.{args.format}"
    default = args.run if args.format == "md" else args.run / file
    out: Path = args.out or default
    if args.format == "md" and os.path.isfile(out):
        raise BenchError(f"--out {out}: is a file; Markdown comes with figures and needs a folder")
    if args.format != "md" and os.path.isdir(out):
        raise BenchError(f"--out {out}: is a folder; name a file for {args.format}")
    if args.svg and args.format != "md":
        raise BenchError(f"--svg: writes figures beside Markdown, not into {args.format}")
    kept = args.run / KEPT
    render: dict[str, Callable[[Results, Path], Path | None]] = {
        "md": partial(leaderboard.render_markdown, kept=kept, svg=args.svg),
        "csv": leaderboard.render_csv,
        "derived": leaderboard.render_derived,
        "json": leaderboard.render_json,
        "html": partial(leaderboard.render_html, kept=kept),
    }
    try:
        written = render[args.format](found, out) or out
    except OSError as error:
        where = f"--out {out}" if args.out else f"{out}"
        hint = "" if args.out else "; --out names another place"
        blocking = next((parent for parent in out.parents if os.path.isfile(parent)), None)
        why = f"{blocking} is a file, not a folder" if blocking else str(error)
        raise BenchError(f"{where}: cannot be written: {why}{hint}") from None
    print(written)
    if args.format not in ("md", "html"):  # these say so themselves, and rows of CSV cannot
        for note in found.damaged:
            print(visible(f"note: {note}"), file=sys.stderr)
    return 0
