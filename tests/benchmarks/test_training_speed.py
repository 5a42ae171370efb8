"""CPU time of training against a plain PyTorch loop, and what the defaults cost in accuracy.

    OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/test_training_speed.py -m benchmark -s

NIN-light on Fashion-MNIST (the full set below /tmp/data or $BENCH_DATA, else the embedded images),
batch 128, one thread. About two minutes on a free core for the speeds; the accuracies take a
quarter of an hour, $TRAINING_SPEED_IMAGES (20000) and $TRAINING_SPEED_SEEDS (3) make that shorter.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from training_speed import (
    BATCH,
    CPU,
    FULL,
    PAPER,
    Case,
    accuracies,
    bare_steps,
    cpu_seconds,
    fashion_mnist,
    first,
    harness,
    plain_loop,
    recipe,
)

from bench.models.hardware import computes_bf16

pytest.importorskip("pytest_benchmark")
pytestmark = pytest.mark.benchmark

ROOT = Path(os.environ.get("BENCH_DATA", FULL))
IMAGES = int(os.environ.get("TRAINING_SPEED_IMAGES", "20000"))
SEEDS = int(os.environ.get("TRAINING_SPEED_SEEDS", "3"))
STEPS, ROUNDS = 8, 5
# What is promised.
FASTER, HARNESS, POINTS = 2.5, 0.05, 0.5


@pytest.mark.parametrize("variant", ["bu", "td"])
def test_against_a_plain_loop_and_the_bare_step(
    variant: str, benchmark: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case("nin_light", variant, first(fashion_mnist(ROOT), STEPS * BATCH))
    sides = {
        "plain": plain_loop(case),
        "bare": bare_steps(case, recipe()),
        "harness": harness(case, recipe()),
    }
    found = benchmark.pedantic(cpu_seconds, (sides, ROUNDS), rounds=1)  # type: ignore[attr-defined]
    faster = found["plain"] / found["harness"]
    over = found["harness"] / found["bare"] - 1
    benchmark.extra_info.update(faster=faster, over=over)  # type: ignore[attr-defined]
    with capsys.disabled():
        rates = {name: STEPS * BATCH / seconds for name, seconds in found.items()}
        print(f"\nnin_light {variant}, images per CPU-second on one thread: ", end="")
        print(", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()), end="")
        print(f"; {faster:.2f} times the plain loop, {100 * over:+.1f} % over the bare step")
    assert over <= HARNESS
    if computes_bf16(CPU):
        assert faster >= FASTER


@pytest.mark.parametrize(("variant", "share"), [("bu", 1.0), ("td", 0.25)])
def test_the_defaults_are_as_accurate_as_the_papers_settings(
    variant: str, share: float, benchmark: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case("nin_light", variant, fashion_mnist(ROOT, int(IMAGES * share)))
    short = {"epochs": 2, "lr": 0.1, "schedule": "one-cycle", "bn_momentum": 0.1}
    found = {
        name: benchmark.pedantic(  # type: ignore[attr-defined]
            lambda more=more: list(accuracies(case, recipe(**short, **more), SEEDS)), rounds=1
        )
        if name == "defaults"
        else list(accuracies(case, recipe(**short, **more), SEEDS))
        for name, more in (("paper", PAPER), ("defaults", {}))
    }
    gap = statistics.mean(found["defaults"]) - statistics.mean(found["paper"])
    with capsys.disabled():
        print(f"\nnin_light {variant}, {len(case.dataset.train)} images: ", end="")
        print({name: [round(v, 2) for v in values] for name, values in found.items()}, end="")
        print(f", difference of means {gap:+.2f} points")
    assert gap >= -POINTS
