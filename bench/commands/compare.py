"""`bench compare RUN_A RUN_B`: what changed, by how much, and what of it is beyond noise."""

from __future__ import annotations

import argparse

from bench.commands.gate_input import read_either
from bench.errors import BenchError


def main(args: argparse.Namespace) -> int:
    """Print the comparison, or write it to a file."""
    from leaderboard.files import write_atomic
    from leaderboard.gate.compare import compare
    from leaderboard.gate.compare_report import as_json, as_markdown

    sides = [read_either(path) for path in (args.before, args.after)]
    for path, side in zip((args.before, args.after), sides, strict=True):
        if not side.measured.numbers:
            raise BenchError(f"{path}: nothing was measured there")
    write = as_json if args.format == "json" else as_markdown
    text = write(compare(*sides), str(args.before), str(args.after))
    if args.out is None:
        print(text, end="")
        return 0
    try:
        written = write_atomic(args.out, text)
    except OSError as error:
        raise BenchError(f"--out {args.out}: cannot be written: {error.strerror}") from None
    print(written)
    return 0
