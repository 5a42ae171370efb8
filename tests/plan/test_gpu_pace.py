"""The estimate for a GPU that is not here."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import arches
from arches.analysis.estimate import estimate
from bench.data.dataset import DatasetInfo
from bench.plan import cost, gpu_pace
from bench.plan.check import read_suite
from bench.plan.expand import expand

INFO = DatasetInfo("grey images", 1, 28, 10, 60_000, 10_000, (), ())


def test_large_networks_cost_their_arithmetic_and_small_ones_their_launches() -> None:
    wide = nn.Sequential(nn.Conv2d(1, 512, 5, padding=2), nn.Conv2d(512, 512, 5, padding=2))
    flops = estimate(wide, 28, 1).flops
    found = gpu_pace.counted(wide, INFO, 128)
    assert found.predict == pytest.approx(flops / gpu_pace.FLOPS_PER_SECOND, rel=0.1)
    assert found.train == pytest.approx(3 * flops / gpu_pace.FLOPS_PER_SECOND, rel=0.1)
    small = arches.create("lenet_fc", "bu", 1)
    slow, fast = (gpu_pace.counted(small, INFO, size) for size in (16, 1024))
    assert slow.train > 10 * fast.train
    assert slow.predict == fast.predict
    # A batch has no more images than there are.
    whole, more = (gpu_pace.counted(small, INFO, size) for size in (60_000, 10**9))
    assert whole.train == more.train


@pytest.mark.gpu
def test_a_gpu_is_timed() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    plan = expand(read_suite("quickstart"))
    looks = cost.look([*plan.cells], plan.base, timed=True)
    for seen in looks.values():
        assert seen.pace is not None
        assert seen.gpu is not None
        assert 0 < seen.gpu.train < seen.pace.train
    assert any("timed on" in line for line in cost.lines([*plan.cells], looks, timed=True))
