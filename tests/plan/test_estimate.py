"""The estimate of `plan`: near what a network takes, and soon there, however slow it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.cli import main
from bench.data.dataset import DatasetInfo
from bench.plan import cost
from bench.plan.check import read_suite
from bench.plan.expand import expand

SLOW = """\
import time
from torch import nn

class Slow(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.last = nn.Linear(in_chans * 28 * 28, num_classes)

    def forward(self, images):
        with open("asked.txt", "a") as log:
            log.write(f"{len(images)}\\n")
        time.sleep(0.07 * len(images))
        return self.last(images.flatten(1))
"""
SUITE = """\
name: slow
seeds: [0]
datasets: [fashion-mnist-mini]
backbones: ["slow_net:Slow"]
variants: [bu]
recipe: {epochs: 1, batch_size: 128, lr: 0.1, validation: 0.0}
measures: [accuracy]
"""


def test_a_slow_network_is_timed_on_a_few_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """70 ms for each of 4,000 images of training and 1,000 of test: 350 s. A batch of 128 alone
    would be 9 s."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("slow_net.py").write_text(SLOW, encoding="utf-8")
    Path("slow.yaml").write_text(SUITE, encoding="utf-8")
    assert main(["plan", "slow.yaml"]) == 0
    out = capsys.readouterr().out
    minutes = re.search(r"fashion-mnist-mini/\S+/bu: (\d+) min", out)
    assert minutes is not None, out
    assert int(minutes[1]) in (5, 6)
    asked = [int(line) for line in Path("asked.txt").read_text().split()]
    assert sum(asked) < 60, asked


class Watched(nn.Linear):
    """Notes for each batch whether it trains, and whether there are gradients."""

    def __init__(self) -> None:
        super().__init__(4, 2)
        self.seen: list[tuple[bool, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append((self.training, torch.is_grad_enabled()))
        return super().forward(images.flatten(1))


def test_a_network_trains_on_each_device_that_it_is_timed_on(
    briefly_timed: None, tiny: Callable[..., Path]
) -> None:
    training = expand(read_suite(str(tiny()))).cells[0].training
    info, watched = DatasetInfo("grey images", 1, 2, 2, 100, 20, (), ()), Watched()
    for _ in range(2):  # as on the CPU, and then on a GPU
        cost._timed(training, watched, info, torch.device("cpu"))
    assert set(watched.seen) == {(True, True), (False, False)}


TIMED = """\
name: timed
seeds: [0, 1]
datasets: [{name: fashion-mnist-mini, train_samples: 100}]
backbones: [lenet_fc]
variants: [bu]
recipe: {epochs: 1, batch_size: 50, lr: 0.1}
measures:
  - efficiency: {seconds: 30, batch_sizes: [64, largest], modes: [default, {precision: bf16}]}
"""


def test_timings_take_as_long_as_the_suite_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four of them (images/s thrice and a latency) in each of two modes, for one seed: 240 s."""
    monkeypatch.chdir(tmp_path)
    Path("timed.yaml").write_text(TIMED, encoding="utf-8")
    assert main(["plan", "timed.yaml"]) == 0
    out = capsys.readouterr().out
    assert "estimate for this machine's CPU, one worker: 4 min" in out
    assert re.search(r"estimate for one GPU, .*: 4 min", out)
