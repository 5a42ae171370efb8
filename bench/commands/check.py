"""`bench check RUN --baseline FILE`: the regression gate."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.gate_input import read_baseline, read_run, suite_thresholds
from bench.errors import BenchError

if TYPE_CHECKING:
    from leaderboard.gate.finding import Judgement


def main(args: argparse.Namespace) -> int:
    """Judge, tell, and end with 0 pass, 1 regression, 2 bad input, 3 inconclusive, 4 not measured.

    Exceptions of the command itself are 2, as everywhere.
    """
    if bool(args.benchmark_json) != bool(args.benchmark_baseline):
        raise BenchError("--benchmark-json and --benchmark-baseline need each other")
    if args.benchmark_json and args.run is None:
        judgement, title = _benchmarks(args), "pytest-benchmark"
    elif args.run is None or args.baseline is None:
        raise BenchError("check: name a RUN and its --baseline FILE (`bench baseline` makes one)")
    else:
        title = str(args.run)
        try:
            judgement = judged(args.run, args.baseline)
            if args.benchmark_json:
                judgement = judgement.joined(_benchmarks(args))
        except BenchError as error:
            _tell_error(str(error), title, args.junit)
            raise
    return _tell(judgement, title, args)


def judged(run: Path, baseline: Path) -> Judgement:
    """A run against a baseline.

    Raises:
        BenchError: one cannot be read, or the baseline is of another experiment.
    """
    from leaderboard.gate.finding import Judgement
    from leaderboard.gate.judge import judge
    from leaderboard.gate.renamed import renamed, told, translated, under, unlike
    from leaderboard.gate.stale import differences
    from leaderboard.gate.thresholds import unknown

    kept, found = read_baseline(baseline), read_run(run)
    if not found.numbers:
        return Judgement((), (f"{run}: nothing was measured there",))
    names = renamed(kept.measured, found)
    notes = [*told(names, kept.measured, found)]
    found = under(names, found)
    ranked = [key for key, one in kept.measured.numbers.items() if one.better != "neither"]
    said = translated(suite_thresholds(run), names, ranked)
    for where, rules in ((f"suite of {run}", said), (str(baseline), kept.thresholds)):
        strangers = unknown(rules, ranked)
        if strangers:
            raise BenchError(f"{where}: {strangers}")
    differs = differences(kept.measured, found)
    if differs:
        more = f" (and {len(differs) - 3} more)" if len(differs) > 3 else ""
        raise BenchError(
            f"{baseline}: stale: {'; '.join(differs[:3])}{more}; "
            "make it anew with `bench baseline RUN` if that was meant"
        )
    notes += unlike(kept.measured, found)
    judgement = judge(found, kept, said)
    return replace(judgement, notes=(*notes, *judgement.notes))


def _benchmarks(args: argparse.Namespace) -> Judgement:
    from leaderboard.gate.benchmarks import BenchmarkError, judge_benchmarks, read

    try:
        sides = [
            [read(path) for path in paths]
            for paths in (args.benchmark_baseline, args.benchmark_json)
        ]
        return judge_benchmarks(*sides)
    except BenchmarkError as error:
        raise BenchError(str(error)) from None


def _tell_error(error: str, title: str, junit: Path | None) -> None:
    """An error is in the JUnit file, too; where that cannot be written, it is told all the same."""
    from leaderboard.files import write_atomic
    from leaderboard.gate.report import error_as_junit

    if junit is not None:
        with suppress(OSError):
            write_atomic(junit, error_as_junit(error, title))


def _tell(judgement: Judgement, title: str, args: argparse.Namespace) -> int:
    from leaderboard.files import write_atomic
    from leaderboard.gate.report import as_json, as_junit, as_markdown, as_text

    with suppress(BrokenPipeError):  # who stops reading does not pass
        print(as_text(judgement, title), flush=True)
    writers = ((args.json, as_json), (args.junit, as_junit), (args.markdown, as_markdown))
    for path, write in writers:
        if path is not None:
            try:
                write_atomic(path, write(judgement, title))
            except OSError as error:
                raise BenchError(f"{path}: cannot be written: {error.strerror}") from None
    return int(judgement.exit)
