"""The line that tells of a cell that has ended."""

from __future__ import annotations

from bench.measures import base
from bench.run.progress import headline
from bench.store.outcome import Outcome

SPEED = {
    "images_per_second": 10_210.6,
    "images_per_second_iqr": 367.8,
    "batch_size": 1.0,
    "latency": 0.0994,
    "latency_iqr": 0.0123,
}


def told(**metrics: float) -> str:
    return headline(Outcome(0.0, 1.0, 1.0, metrics, base.load("efficiency").metrics))


def test_a_unit_is_said_once_and_a_spread_stands_beside_its_number() -> None:
    assert told(**SPEED) == "images/s 10,211 (IQR 368), latency 0.10 ms (IQR 0.01)"


def test_counts_come_first() -> None:
    counts = {"parameters": 14_452.0, "flops": 7_391_160.0}
    assert told(**SPEED, **counts) == "images/s 10,211 (IQR 368), parameters 14,452"
    assert told(**counts, **SPEED) == "parameters 14,452, FLOPs 7,391,160 per image"
