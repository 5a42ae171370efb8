"""`bench merge RUN RUN... --out DIR`: one run out of several that measured parts of one suite."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.commands.run import write_failures
from bench.errors import BenchError, visible
from bench.observe.log_merge import merge_logs
from bench.store.archive import unpack
from bench.store.database import Store
from bench.store.fresh import made_whole
from bench.store.merge import Merged, merge
from bench.store.merge_source import Source, source
from bench.store.volumes import volumes


def main(args: argparse.Namespace) -> int:
    """Make the run directory; print what is in it of each run, and what is still to do."""
    runs: list[Path] = args.runs
    try:
        _check(runs, args.out)
        with made_whole(args.out) as aside, tempfile.TemporaryDirectory(dir=aside.parent) as place:
            sources = [
                source(number, str(run), _folder(run, Path(place) / str(number)))
                for number, run in enumerate(runs)
            ]
            merged = merge(sources, aside)
            merge_logs(merged, aside)
            store = Store.open(aside)
            try:
                write_failures(store)
            finally:
                store.close()
    except OSError as error:
        raise BenchError(f"--out {args.out}: cannot be written: {error}") from None
    for one in sources:
        for line in one.damage:
            print(visible(line), file=sys.stderr)
    for line in [*merged.told, *_summary(sources, merged, args.out)]:
        print(visible(line))
    return 0


def _check(runs: Sequence[Path], out: Path) -> None:
    """What can be told before anything is read.

    Raises:
        BenchError: a single run, or a place where the merged one cannot be.
    """
    if len(runs) < 2:
        raise BenchError(f"{runs[0]}: is a single run; name two or more")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise BenchError(f"{out}: is there already; name another folder with --out")
    for run in runs:
        if out.resolve().is_relative_to(run.resolve()):
            raise BenchError(
                f"--out {out}: lies in {run}, which is not to be changed; name another"
            )


def _folder(run: Path, place: Path) -> Path:
    """The run directory: `run` itself, or what a file of `bench pack` holds."""
    if run.is_dir() or not volumes(run):
        return run
    unpack(run, place)
    return place


def _summary(sources: Sequence[Source], merged: Merged, out: Path) -> Iterator[str]:
    planned = {row.identity for row in sources[0].planned}
    for one in sources:
        own = one.cells.keys() & planned
        taken = sum(merged.taken.get(identity) is one for identity in own)
        parts = [f"{taken} cell{'' if taken == 1 else 's'} taken"]
        also = sum(identity in merged.taken for identity in own) - taken
        if also:
            parts.append(f"{also} that another run has too")
        if left_out := len(own) - taken - also:
            parts.append(f"{left_out} left out")
        if one is not sources[0] and (unknown := len(one.cells) - len(own)):
            parts.append(f"{unknown} left out that {sources[0].label} has not planned")
        half = sum(source is one for source in merged.halves.values())
        if half:
            parts.append(f"{half} half done")
        yield f"{one.label}: {', '.join(parts)}"
    rest = merged.planned - merged.done - merged.failed
    failed = f", {merged.failed} failed" if merged.failed else ""
    yield f"{out}: {merged.planned} cells: {merged.done} done{failed}, {rest} to do"
