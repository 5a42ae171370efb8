"""What clean images say of a network is found out once, and nobody can spoil it for others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from measure_parts import Bright, context, first_pixels, tasks
from torch import Tensor, nn

from bench.measures import accuracy, clean, robustness
from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.run.events import CellFinished, Event
from bench.run.executor import units
from bench.run.place import Place
from bench.run.unit import execute
from bench.store.database import Store

VALUES, LABELS = [0, 51, 102, 255, 204, 153], [0, 0, 1, 1, 1, 0]


class Counting(Bright):
    """Counts the images that it predicts, by size of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.asked.append(len(images))
        return super().forward(images)


def test_measures_of_a_network_share_predictions() -> None:
    net = Counting()
    first = context(first_pixels(VALUES, LABELS), net)
    alone = accuracy.run(first)
    assert net.asked == [6]
    again = accuracy.run(replace(first))
    assert net.asked == [6]
    np.testing.assert_array_equal(again.arrays["prediction"], alone.arrays["prediction"])
    (item,) = tasks("measure_parts:to_white")
    attacked = robustness.run(replace(first, options=item.options))
    np.testing.assert_array_equal(attacked.arrays["prediction"], alone.arrays["prediction"])
    asked = len(net.asked)
    robustness.run(replace(first, options=item.options))
    # Neither the clean images nor the look for signs of masked gradients is done again: that is
    # three passes over six images, and one more for the gradient.
    assert net.asked[1:asked].count(6) == 3
    assert 6 not in net.asked[asked:]
    # Another network of the same data has a memory of its own.
    other = Counting()
    accuracy.run(context(first_pixels(VALUES, LABELS), other))
    assert other.asked == [6]


def test_results_are_those_without_a_memory() -> None:
    """Whoever asks first, and for whichever images."""
    index = np.array([1, 3, 4])
    shared = context(first_pixels(VALUES, LABELS), Bright())
    whole = clean.predictions(shared)
    part = clean.predictions(shared, index)
    assert torch.equal(part, whole[torch.from_numpy(index)])
    assert torch.equal(clean.predictions(shared, np.arange(6)), whole)
    assert len(shared.known) == 2, "all images under two names are the same"


def test_who_is_given_predictions_may_change_them() -> None:
    shared = context(first_pixels(VALUES, LABELS), Bright())
    clean.predictions(shared).zero_()
    assert clean.predictions(shared).tolist() == [0, 0, 0, 1, 1, 1]


def test_random_numbers_are_the_same_whether_it_is_remembered_or_not() -> None:
    class Noisy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.rand(len(images), 3)

    shared = context(first_pixels(VALUES, LABELS), Noisy(), seed=4)
    drawn = []
    for _ in range(2):
        torch.manual_seed(9)
        found = clean.predictions(shared)
        drawn.append((found.tolist(), float(torch.rand(1))))
    assert drawn[0] == drawn[1]
    torch.manual_seed(9)
    assert drawn[0][1] == float(torch.rand(1))
    torch.manual_seed(11)
    assert clean.predictions(replace(shared, known={})).tolist() == drawn[0][0]


@pytest.mark.gpu
def test_predictions_of_a_gpu_come_back() -> None:
    here = context(first_pixels(VALUES, LABELS), Bright())
    there = replace(here, device=torch.device("cuda"), known={})
    there.network.to("cuda")
    for _ in range(2):
        found = clean.predictions(there)
        assert found.device.type == "cpu"
        assert found.tolist() == [0, 0, 0, 1, 1, 1]


SPOILERS = '''
import torch
from bench.measures.clean import predictions

def spoils(context):
    """Changes the network, then asks for predictions."""
    for parameter in context.network.parameters():
        parameter.data.zero_()
    return {"mean": predictions(context).float().mean().item()}

def fails(context):
    """The same, and then breaks."""
    spoils(context)
    raise RuntimeError("broken")
'''


def test_a_measure_that_changes_the_network_spoils_nothing(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "spoilers.py").write_text(SPOILERS, encoding="utf-8")
    honest = tiny(name="honest.yaml")
    spoilt = tiny(
        ("measures:\n", "measures:\n  - spoilers:spoils\n  - spoilers:fails\n"), name="spoilt.yaml"
    )
    found = []
    for number, suite in enumerate((honest, spoilt)):
        plan = expand(read_suite(str(suite)))
        store = Store.create_or_open(tmp_path / f"run{number}")
        events: list[Event] = []
        for unit in units(plan.cells, store):
            execute(unit, Place(tmp_path, tmp_path, "cpu"), events.append)
        store.close()
        found.append({e.cell.title: e.outcome for e in events if isinstance(e, CellFinished)})
    clean_run, spoilt_run = found
    errors = [spoilt_run[name].error for name in ("spoils", "fails")]
    assert all(errors)
    for name in ("accuracy", "robustness/gaussian_blur"):
        assert spoilt_run[name].error is None
        assert spoilt_run[name].metrics == clean_run[name].metrics
