"""The speeds of `test_training_speed.py` in seconds, with margins that a busy machine needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_speed import (
    BATCH,
    CPU,
    Case,
    bare_steps,
    cpu_seconds,
    fashion_mnist,
    first,
    harness,
    plain_loop,
    recipe,
)

from bench.models.hardware import computes_bf16


def test_training_is_not_slower_than_it_should_be(capsys: pytest.CaptureFixture[str]) -> None:
    case = Case("nin_light", "bu", first(fashion_mnist(Path()), 2 * BATCH))
    sides = {
        "plain": plain_loop(case),
        "bare": bare_steps(case, recipe()),
        "harness": harness(case, recipe()),
    }
    found = cpu_seconds(sides, rounds=3)
    assert found["harness"] <= 1.3 * found["bare"]
    if computes_bf16(CPU):
        assert found["plain"] >= 1.7 * found["harness"]
