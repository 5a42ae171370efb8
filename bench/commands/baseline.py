"""`bench baseline RUN --out FILE`: write what later runs are held against."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.gate_input import read_baseline, read_run, suite_thresholds
from bench.errors import BenchError

if TYPE_CHECKING:
    from leaderboard.gate.measured import Measured
    from leaderboard.gate.thresholds import Threshold


def main(args: argparse.Namespace) -> int:
    """Write the baseline; thresholds that somebody wrote into the old one are kept."""
    from leaderboard.files import write_atomic
    from leaderboard.gate.baseline import Baseline, dumps
    from leaderboard.gate.noise import noise
    from leaderboard.gate.renamed import otherwise, renamed, under

    run = read_run(args.run)
    if not run.numbers:
        raise BenchError(f"{args.run}: nothing was measured there that could be a baseline")
    if run.gaps and not args.partial:
        (net, measure), reason = next(iter(run.gaps.items()))
        counted = f"{len(run.gaps)} cells are" if len(run.gaps) > 1 else "1 cell is"
        cell = f"{'/'.join(net[:3])}/seed{net.seed}/{measure}"
        raise BenchError(
            f"{args.run}: {counted} failed, missing or damaged ({cell}: {reason}); "
            "finish the run first, or take what is there with --partial"
        )
    others = [read_run(path) for path in args.noise_from]
    others = [under(renamed(run, other), other) for other in others]
    for path, other in zip(args.noise_from, others, strict=True):
        if not other.numbers:
            raise BenchError(f"--noise-from {path}: nothing was measured there")
        if other.suite != run.suite:
            raise BenchError(f"--noise-from {path}: of suite '{other.suite}', not '{run.suite}'")
        if differs := otherwise(run, other, (f"in {args.run}", f"in {path}")):
            raise BenchError(
                f"--noise-from {path}: another experiment, whose noise may be another: "
                f"{'; '.join(differs[:3])}"
            )
    _all_different([args.run, *args.noise_from], [run, *others])
    thresholds = _kept_thresholds(args.out)
    spread = noise([run, *(other.up_to(run.limits) for other in others)])
    _ = suite_thresholds(args.run)  # so that a wrong one shows now
    text = dumps(Baseline(replace(run), spread, thresholds))
    out: Path = args.out
    try:
        write_atomic(out, text)
    except OSError as error:
        raise BenchError(f"--out {out}: cannot be written: {error.strerror}") from None
    print(
        f"{out}  (failed, missing or damaged cells, not in it: {len(run.gaps)})"
        if run.gaps
        else out
    )
    return 0


def _kept_thresholds(out: Path) -> Mapping[str, Threshold]:
    """Those of a baseline that is written again; what cannot be read is not written over."""
    if not out.is_file():
        return {}
    try:
        return read_baseline(out).thresholds
    except BenchError as error:
        raise BenchError(
            f"--out {out}: is there already, and its thresholds cannot be kept ({error}); remove "
            "it or name another file"
        ) from None


def _all_different(places: Sequence[Path], runs: Sequence[Measured]) -> None:
    """Refuse a run that holds no more than one before it: the same trainings, counted twice, would
    make chance look smaller than it is. Of a run that holds more, such as timings of its own, the
    rest counts."""
    from leaderboard.gate.timed import timed

    for (place, run), (other_place, other) in combinations(zip(places, runs, strict=True), 2):
        if other.is_part_of(run):
            own = timed(other).values
            if own and own != timed(run).values:
                text = f"the same trainings as {place}: only its timings tell of noise"
                print(f"note: --noise-from {other_place}: {text}", file=sys.stderr)
                continue
            raise BenchError(
                f"--noise-from {other_place}: the same results as {place}, which tell nothing of "
                "chance; name runs of other seeds, or trained once more (in a folder without runs "
                "beside it, from which trainings are taken over)"
            )
