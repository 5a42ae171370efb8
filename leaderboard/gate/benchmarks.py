"""Throughput benchmarks of a project's own tests: pytest-benchmark's JSON, before and after.

A machine drifts, and a process has luck with its memory, so one process each says nothing. Before
and after take turns (A B B A A B B A ...), a file each; the medians of the k-th files make a pair,
and the pairs a Hodges-Lehmann ratio with its 99 % interval. How far neighbouring files of the same
side differ is the control: a machine that is not steady enough is told, and not judged by.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leaderboard.gate.finding import Finding, Judgement, Status
from leaderboard.numbers.summary import Key
from leaderboard.statistics.hodges_lehmann import Shift, log_ratio, shift

PAIRS = 10
LEVEL = 0.98  # two-sided: 99 % to each side
SLOWER = 0.03
WIDEST = 0.05
_MORE = "more pairs of files, made on a quiet machine, would tell"

File = Mapping[str, float]


class BenchmarkError(ValueError):
    """Not a file of pytest-benchmark; the message says why."""


def read(path: Path) -> File:
    """Median seconds of each benchmark in a file that `pytest --benchmark-json` wrote.

    Raises:
        BenchmarkError: it cannot be read, or is something else.
    """
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        found = {one["fullname"]: float(one["stats"]["median"]) for one in document["benchmarks"]}
    except OSError as error:
        raise BenchmarkError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise BenchmarkError(f"{path}: not JSON of pytest-benchmark") from None
    wrong = [name for name, median in found.items() if not 0 < median < math.inf]
    if wrong:
        raise BenchmarkError(f"{path}: {wrong[0]} took no time")
    return found


def judge_benchmarks(before: Sequence[File], after: Sequence[File]) -> Judgement:
    """A verdict for each benchmark of the first file; the k-th files of both sides are pairs.

    Raises:
        BenchmarkError: the two sides have not the same number of files.
    """
    if len(before) != len(after):
        raise BenchmarkError(
            f"{len(before)} baseline files and {len(after)} of the run: give as many of each, "
            "made in turn"
        )
    names = dict.fromkeys(name for side in before for name in side)
    return Judgement(tuple(_judge(name, before, after) for name in names))


def _judge(name: str, before: Sequence[File], after: Sequence[File]) -> Finding:
    module, _, test = name.rpartition("::")
    key = Key("benchmarks", module or "tests", test, "pytest-benchmark", "median")
    sides = [[one.get(name) for one in side] for side in (before, after)]
    one, other = ([v for v in side if v is not None] for side in sides)
    if len(one) < len(before) or len(other) < len(after):
        reason = f"in {len(one)} of the baseline's files, in {len(other)} of the run's"
        return Finding(key, "s", Status.NOT_MEASURED, reason)
    means = float(np.median(one)), float(np.median(other))
    if len(one) < PAIRS:
        reason = f"{len(one)} pairs of files; {PAIRS} made in turn are needed"
        return Finding(key, "s", Status.INCONCLUSIVE, reason, *means, remedy=_MORE)
    found, control = log_ratio(one, other, LEVEL), _control(one, other)
    delta = max(math.log1p(SLOWER), 3 * control)
    status, reason = _status(found, control, delta)
    return Finding(
        key,
        "s",
        status,
        reason,
        *means,
        gain=math.expm1(-found.value),
        bound=math.expm1(-found.high),
        delta=-math.expm1(-delta),
        p_value=found.p_value,
        relative=True,
        remedy=_MORE if status is Status.INCONCLUSIVE else "",
    )


def _status(found: Shift, control: float, delta: float) -> tuple[Status, str]:
    if found.low > delta:
        return Status.REGRESSION, ""
    if control > WIDEST:
        return Status.INCONCLUSIVE, f"the same code differs by {100 * control:.1f} % from itself"
    if found.high < delta:
        return Status.PASS, ""
    return Status.INCONCLUSIVE, f"a slowdown of {100 * math.expm1(delta):.1f} % cannot be excluded"


def _control(one: Sequence[float], other: Sequence[float]) -> float:
    """Half the width of the interval that a comparison of a side with itself has.

    Neighbours of the same side, half of them turned round: their differences have nothing in them
    but noise, and there are as many of them as pairs.
    """
    gaps = np.concatenate([np.diff(np.log(side)) for side in (one, other)])
    signs = np.where(np.arange(len(gaps)) % 2, -1.0, 1.0)
    half = shift(gaps * signs, LEVEL).half
    return half * math.sqrt(len(gaps) / len(one))
