"""The remaining time that `run` tells, against what the cells then take."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.plan.cell import Cell
from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.run import remaining
from bench.run.remaining import Remaining, clock

SUITE = """\
name: times
seeds: [0, 1]
datasets: [fashion-mnist-mini, {name: fashion-mnist-mini, label: again, image_size: 32}]
backbones: [lenet_fc, nin_light]
variants: [bu, td]
recipe: {epochs: 1}
measures:
  - accuracy
  - robustness: {attacks: [gaussian_blur, additive_gaussian]}
"""
# Seconds by the last word of a cell's title, and how many times more a network takes.
TITLES = {"train": 40.0, "accuracy": 1.0, "gaussian_blur": 5.0, "additive_gaussian": 20.0}
NETS = {"lenet_fc/bu": 1.0, "lenet_fc/td": 4.0, "nin_light/bu": 6.0, "nin_light/td": 30.0}


@pytest.fixture
def cells(tmp_path: Path) -> tuple[Cell, ...]:
    path = tmp_path / "times.yaml"
    path.write_text(SUITE, encoding="utf-8")
    return expand(read_suite(str(path))).cells


def takes(cell: Cell) -> float:
    net = f"{cell.training.backbone.label}/{cell.training.variant}"
    return TITLES[cell.title.rpartition("/")[2]] * NETS[net]


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock on by so many seconds."""
    now = [100.0]
    monkeypatch.setattr(remaining.time, "perf_counter", lambda: now[0])

    def on(seconds: float) -> None:
        now[0] += seconds

    return on


def after(
    cells: tuple[Cell, ...], count: int, on: Callable[[float], None], workers: int = 1
) -> tuple[float, float]:
    """What is told after so many cells, and what the others will take."""
    left = Remaining(cells)
    for cell in cells[:count]:
        on(takes(cell) / workers)
        left.finished(cell, takes(cell))
    told = left.seconds()
    assert told is not None
    return told, sum(map(takes, cells[count:])) / workers


def test_nothing_is_told_before_the_first_cell(cells: tuple[Cell, ...]) -> None:
    assert Remaining(cells).seconds() is None
    assert clock(Remaining(cells).seconds()) == "?"


@pytest.mark.parametrize("workers", [1, 2])
def test_networks_of_one_data_set_tell_of_the_next(
    cells: tuple[Cell, ...], clocked: Callable[[float], None], workers: int
) -> None:
    told, then = after(cells, len(cells) // 2, clocked, workers)
    assert told == pytest.approx(then)


def test_one_cell_of_a_network_tells_of_its_others(
    cells: tuple[Cell, ...], clocked: Callable[[float], None]
) -> None:
    """After all of `bu` and a training of `td`, the attacks on `td` are told right."""
    only = tuple(c for c in cells if c.training.backbone.label == "lenet_fc")
    only = tuple(c for c in only if c.training.dataset.label == "again")
    count = next(k for k, cell in enumerate(only) if cell.training.variant == "td") + 1
    told, then = after(only, count, clocked)
    assert told == pytest.approx(then)


def test_what_earlier_sessions_took_is_known(
    cells: tuple[Cell, ...], clocked: Callable[[float], None]
) -> None:
    before, now = cells[: len(cells) // 2], cells[len(cells) // 2 :]
    left = Remaining(now)
    for cell in before:
        left.known(cell, takes(cell))
    assert left.seconds() is None  # the pace is this session's
    clocked(takes(now[0]))
    left.finished(now[0], takes(now[0]))
    assert left.seconds() == pytest.approx(sum(map(takes, now[1:])))


def test_nothing_is_left_at_the_end(
    cells: tuple[Cell, ...], clocked: Callable[[float], None]
) -> None:
    assert after(cells, len(cells), clocked)[0] == 0.0
    assert not math.isnan(after(cells, 1, clocked)[0])


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "?"), (0.4, "0:00"), (123, "2:03"), (3723, "1:02:03")]
)
def test_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text
