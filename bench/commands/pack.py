"""`bench pack RUN`: a run as one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.errors import BenchError
from bench.store.archive import SUFFIX, pack


def main(args: argparse.Namespace) -> int:
    """Write the archive; print its path and size, or those of its parts."""
    out: Path = args.out or args.run.parent / f"{args.run.resolve().name}{SUFFIX}"
    if out.is_dir():
        raise BenchError(f"--out {out}: is a folder; name a file")
    try:
        made = pack(args.run, out, args.weights, args.split)
    except OSError as error:
        raise BenchError(f"--out {out}: cannot be written: {error}") from None
    for path in made:
        print(f"{path}  ({path.stat().st_size / 2**20:.2f} MiB)")
    return 0
