"""CPU time and predictions of the native attacks against Foolbox 3, in one run on one thread.

    OMP_NUM_THREADS=1 python -m pytest tests/benchmarks -m benchmark

About five minutes on a free core; $ATTACK_SPEED_IMAGES (128, the batch of the paper's script) makes
it shorter or longer. Both sides attack the same images and network (LeNetFC, the paper's smallest)
with the same numbers of steps. What the other side is: see `attack_speed.py`. Where it is Foolbox's
own attack, its algorithm can differ from Foolbox 2's (salt and pepper, pointwise, interpolation of
spatial); distances are in the table.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

import pytest
import torch
from attack_speed import DIRECT, FOOLBOX3, ROWS, Side, measured, native
from mini_fashion import attacked
from torch import Tensor, nn
from train_lenet import trained

pytest.importorskip("pytest_benchmark")
pytest.importorskip("foolbox")

pytestmark = pytest.mark.benchmark
IMAGES = int(os.environ.get("ATTACK_SPEED_IMAGES", "128"))
# How many times less CPU time: what is promised.
BARS = {"gaussian_blur": 5.0, "spatial": 5.0, "blended_uniform": 3.0}
TOGETHER = 1.5
# Foolbox's distances come from other random numbers, algorithms and interpolations.
SAME_L2 = ("gaussian_blur", "contrast_reduction")
DONE: dict[str, tuple[Side, Side]] = {}


@pytest.fixture(scope="module")
def problem() -> Iterator[tuple[nn.Module, Tensor, Tensor]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network = trained()
    yield network, *attacked(network, IMAGES)
    torch.set_num_threads(threads)


def row(name: str, against: str, ours: Side, theirs: Side) -> tuple[str, ...]:
    return (
        name,
        against,
        f"{ours.evaluations:.0f}",
        f"{theirs.evaluations:.0f}",
        f"{ours.seconds:.1f}",
        f"{theirs.seconds:.1f}",
        f"{theirs.seconds / ours.seconds:.2f}",
        f"{ours.median_l2:.3f}",
        f"{theirs.median_l2:.3f}",
        f"{100 * ours.found:.0f} %",
        f"{100 * theirs.found:.0f} %",
    )


@pytest.mark.parametrize("name", [*FOOLBOX3, *DIRECT])
def test_no_more_predictions_and_less_time(
    name: str, problem: tuple[nn.Module, Tensor, Tensor], benchmark: object
) -> None:
    network, clean, labels = problem
    ours = benchmark.pedantic(  # type: ignore[attr-defined]
        measured, (native(name), network, clean, labels), rounds=1, iterations=1
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = measured((FOOLBOX3 | DIRECT)[name], network, clean, labels)
    DONE[name] = ours, theirs
    ROWS.append(row(name, "Foolbox 3" if name in FOOLBOX3 else "linear search", ours, theirs))
    benchmark.extra_info["cpu_ratio"] = theirs.seconds / ours.seconds  # type: ignore[attr-defined]
    assert ours.evaluations <= theirs.evaluations
    assert theirs.seconds >= BARS.get(name, 0.0) * ours.seconds
    if name in SAME_L2:
        assert ours.median_l2 == pytest.approx(theirs.median_l2, abs=1e-4)
        assert ours.found == theirs.found


def test_the_ten_together() -> None:
    if set(DONE) != set(FOOLBOX3 | DIRECT):
        pytest.skip("needs all ten in this run")
    for what, names in (("the ten", FOOLBOX3 | DIRECT), ("the seven", FOOLBOX3)):
        ours, theirs = (sum(DONE[name][side].seconds for name in names) for side in (0, 1))
        empty = ("",) * 2
        times = (f"{ours:.1f}", f"{theirs:.1f}", f"{theirs / ours:.2f}")
        ROWS.append((what, "", *empty, *times, *empty, *empty))
        assert theirs >= TOGETHER * ours, what
