"""The estimate of `plan`: near what a network takes, and soon there, however slow it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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

# It computes for as long as is asked for, on one thread: seconds a batch, and for each image.
SLOW = """\
import time
from torch import nn

class Slow(nn.Module):
    def __init__(self, in_chans, num_classes, batch=0.0, image=0.0):
        super().__init__()
        self.batch, self.image = batch, image
        self.last = nn.Linear(in_chans * 28 * 28, num_classes)

    def forward(self, images):
        with open("asked.txt", "a") as log:
            log.write(f"{len(images)}\\n")
        end = time.process_time() + self.batch + self.image * len(images)
        while time.process_time() < end:
            pass
        return self.last(images.flatten(1))
"""
SUITE = """\
name: slow
seeds: [0]
datasets: [fashion-mnist-mini]
backbones: [{name: "slow_net:Slow", batch: %s, image: %s}]
variants: [bu]
recipe: {epochs: 1, batch_size: 128, lr: 0.1, validation: 0.0}
measures: [accuracy]
"""


@pytest.fixture
def seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[float, float], int]:
    """What plan says that a network of so many seconds a batch and an image will take."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    Path("slow_net.py").write_text(SLOW, encoding="utf-8")

    def planned(batch: float, image: float) -> int:
        Path("slow.yaml").write_text(SUITE % (batch, image), encoding="utf-8")
        assert main(["plan", "slow.yaml"]) == 0
        out = capsys.readouterr().out
        found = re.search(r"fashion-mnist-mini/\S+/bu: (\d+) (s|min)", out)
        assert found is not None, out
        return int(found[1]) * {"s": 1, "min": 60}[found[2]]

    return planned


def test_a_slow_network_is_timed_on_some_images(seconds: Callable[[float, float], int]) -> None:
    """70 ms for each of 4,000 images of training and 1,000 of test: 350 s. A batch of 128 alone
    would be 9 s."""
    assert seconds(0.0, 0.07) in (300, 360)
    asked = [int(line) for line in Path("asked.txt").read_text().split()]
    assert sum(asked) < 100, asked


def test_what_a_batch_costs_is_not_taken_for_the_cost_of_its_images(
    seconds: Callable[[float, float], int],
) -> None:
    """A large network passes over its weights once a batch: 0.2 s for each of 40 batches. A batch
    of eight, which tells two minutes for the 5,000 images, is no measure of them."""
    assert seconds(0.2, 0.0) < 20


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen")
def test_other_load_does_not_count(seconds: Callable[[float, float], int]) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        assert 45 <= seconds(0.0, 0.01) <= 60  # a core's quarter would make it three minutes
    finally:
        for other in others:
            other.kill()
            other.wait()
        os.sched_setaffinity(0, cores)


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
