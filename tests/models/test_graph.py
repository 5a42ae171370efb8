"""When a step is captured and replayed, with a stand-in for the device that records calls.

What CUDA itself does is tested on a GPU (`test_training_gpu.py`); here it is the order of things.
"""

from __future__ import annotations

import warnings

import pytest
import torch
from recorded_graphs import Recorder, stand_in
from torch import Tensor

from bench.models.graph import WARM_UP, GraphedStep
from bench.train.augment import Draws

DEVICE = torch.device("cpu")


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)


class Trainer:
    """Its update adds up what it is given; `python` counts how often Python code ran."""

    def __init__(self, waits: bool = False, fails: bool = False) -> None:
        self.total, self.python = torch.zeros(()), 0
        self.waits, self.fails = waits, fails
        self.loss = torch.zeros(())

    def update(self, index: Tensor, draws: Draws) -> Tensor:
        self.python += 1
        if self.waits:
            warnings.warn("called a synchronizing CUDA operation", stacklevel=2)
        if Recorder.recording is None:
            self.work(index, draws)
            return self.loss.clone()
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        Recorder.recording.calls.append(lambda: self.work(index, draws))
        return self.loss

    def work(self, index: Tensor, draws: Draws) -> None:
        self.total += index.sum() + draws["flip"].sum()
        self.loss.copy_(index.sum() + draws["flip"].sum())


def steps(trainer: Trainer, sizes: list[int]) -> tuple[GraphedStep, list[float], list[float]]:
    """The step, the losses it gave, and those it should have given."""
    step, found, expected = GraphedStep(4, DEVICE), [], []
    for number, size in enumerate(sizes):
        index = torch.arange(size) + number
        draws = {"flip": torch.full((size,), 100 * number)}
        found.append(step(trainer.update, index, draws))
        expected.append(float(index.sum() + draws["flip"].sum()))
    return step, [float(loss) for loss in found], expected


def test_every_batch_is_trained_on_once_by_replays_of_one_capture() -> None:
    trainer = Trainer()
    step, found, expected = steps(trainer, [4] * 9)
    assert found == expected, "each loss is kept, and each replay takes its own batch and draws"
    assert float(trainer.total) == sum(expected)
    assert step.captured
    assert trainer.python == WARM_UP + 1


def test_a_partial_batch_is_eager_and_breaks_no_replay() -> None:
    trainer = Trainer()
    step, found, expected = steps(trainer, [4, 4, 3, 4, 4, 3, 4, 3, 4])
    assert found == expected
    assert step.captured
    assert trainer.python == WARM_UP + 1 + 3


def test_a_step_in_which_the_host_waits_is_not_captured() -> None:
    trainer = Trainer(waits=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        step, found, expected = steps(trainer, [4] * 6)
    assert found == expected
    assert not step.captured
    assert step.note == "no CUDA graph: the host waits for the device within a step"


def test_a_capture_that_fails_loses_no_batch() -> None:
    trainer = Trainer(fails=True)
    step, found, expected = steps(trainer, [4] * 6)
    assert found == expected
    assert float(trainer.total) == sum(expected)
    assert not step.captured
    assert step.note == (
        "no CUDA graph: its capture failed (operation not permitted when stream is capturing)"
    )
