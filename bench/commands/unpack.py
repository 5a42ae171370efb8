"""`bench unpack FILE`: the run directory that `bench pack` made a file of."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.errors import BenchError
from bench.store.archive import SUFFIX, unpack
from bench.store.volumes import name_of


def main(args: argparse.Namespace) -> int:
    """Make the run directory; print its path."""
    out: Path = args.out or Path("runs") / name_of(args.file).name.removesuffix(SUFFIX)
    try:
        unpack(args.file, out)
    except OSError as error:
        raise BenchError(f"--out {out}: cannot be written: {error}") from None
    print(out)
    return 0
