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
    if not out.name.endswith(SUFFIX):
        raise BenchError(f"--out {out}: the archive is a {SUFFIX[1:]} file; end its name so")
    try:
        made = pack(args.run, out, args.weights, args.split)
    except OSError as error:
        raise BenchError(f"--out {out}: cannot be written: {error}") from None
    for path in made:
        print(f"{path}  ({_size(path.stat().st_size)})")
    return 0


def _size(count: int) -> str:
    """Bytes in the unit in which they are not 0.00."""
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 / 10 else f"{count / 2**10:.1f} KiB"
