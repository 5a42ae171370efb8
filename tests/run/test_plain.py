"""What crosses process borders: plain data, which reads back as it was and runs nothing."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.plan.cell import Cell, Limits
from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.run.cluster.worker import Assignment
from bench.run.events import CellFinished, CellPart, CellProgress, CellStarted, CellWarning, Event
from bench.run.place import Place
from bench.run.processes import wire
from bench.run.processes.packed import pack, unpack
from bench.run.processes.plain import framed, unframed
from bench.run.unit import Unit
from bench.store.outcome import Failed, Outcome
from leaderboard.results import MetricInfo

SUITE = """\
name: travelling
seeds: [0]
datasets: [{name: fashion-mnist-mini, train_samples: 100, label: some}]
backbones: [{name: lenet_fc, merge: add, variants: [td]}]
recipe: {epochs: 1, augment: {shift: 0.1}, channels_last: true}
measures:
  - accuracy
  - robustness:
      samples: 20
      attacks: [gaussian_blur, {name: pgd, norm: L2, epsilons: [1/5, 2]}]
  - efficiency: {modes: [default, {precision: bf16}]}
  - faithfulness
"""
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary() | st.dates() | st.datetimes().map(lambda moment: moment.replace(fold=0))
    | st.just(Path("a/b")) | st.just(math.inf)
)  # fmt: skip
keys = st.text() | st.integers() | st.booleans() | st.just("$")
data = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=12,
)


@given(data, st.lists(st.binary()))
def test_plain_data_come_back_as_they_were(head: object, blobs: list[bytes]) -> None:
    found, parts = unframed(framed(head, blobs))
    assert found == head
    assert repr(found) == repr(head), "1, 1.0 and True are told apart"
    assert parts == blobs


def test_sets_and_zones_too() -> None:
    head = {"a": {1, 2}, "b": datetime(2026, 1, 2, tzinfo=UTC), "c": date(2026, 1, 2)}
    assert unframed(framed(head))[0] == head


@given(st.binary(max_size=60))
@settings(suppress_health_check=list(HealthCheck))
def test_other_bytes_are_refused_in_words(noise: bytes) -> None:
    for broken in (noise, framed([1, 2], [b"abc"])[:-1], framed([1], [b"abc"]) + noise + b"!"):
        with pytest.raises(BenchError, match="a message of a worker"):
            unframed(broken)


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_code_neither_leaves_nor_comes_in(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"^Bomb .* cannot be sent to a worker$"):
        framed({"option": Bomb(tmp_path / "mark")})
    smuggled = pickle.dumps(Bomb(tmp_path / "mark"))
    for read in (unframed, wire.Message.unpack, wire.Order.unpack, Assignment.unpack, unpack):
        with pytest.raises(BenchError):
            read(smuggled)
    assert not (tmp_path / "mark").exists()


@pytest.fixture
def cells(tmp_path: Path) -> tuple[Cell, ...]:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE, encoding="utf-8")
    return expand(read_suite(str(path))).cells


def test_a_unit_is_made_anew_from_what_the_suite_says(cells: tuple[Cell, ...]) -> None:
    train, *rest = cells
    parts = {rest[1].identity: {"images 0 to 9": Path("x/y.safetensors")}}
    unit = Unit(train.training, train, tuple(rest), Path("w.safetensors"), parts)
    place = Place(Path("data"), Path("base"), "cpu", threads=2, contents={"some": "abc"})
    found, there = unpack(pack(unit, place))
    assert found == unit
    assert there == place
    assert [cell.options for cell in found.cells] == [cell.options for cell in rest]
    assert {type(cell.options) for cell in found.cells} == {type(cell.options) for cell in rest}
    done = unpack(pack(replace(unit, train=None, trained=None), place))[0]
    assert (done.train, done.trained) == (None, None)


def outcomes() -> list[Outcome]:
    infos = {"a": MetricInfo("A", "%", "higher", 1, True)}
    arrays = {"x": np.arange(6.0).reshape(2, 3), "right": np.array([True, False])}
    return [
        Outcome(1.5, 2.5, 0.1, {"a": 1 / 3, "b": math.inf}, infos, arrays, facts={"l": [1, None]}),
        Outcome(1.5, 2.5, 0.1, {}, {}, weights={"w": torch.randn(2, 3, dtype=torch.bfloat16)}),
        Outcome(1.5, 2.5, 0.1, error=Failed("ValueError", "no\udc80", "Traceback ...")),
    ]


def as_lists(event: Event) -> object:
    if isinstance(event, CellPart):
        return event.name, {name: array.tolist() for name, array in event.arrays.items()}
    if isinstance(event, CellFinished):
        one = event.outcome
        arrays = {name: (array.dtype, array.tolist()) for name, array in one.arrays.items()}
        weights = {n: (t.dtype, t.tolist()) for n, t in (one.weights or {}).items()}
        return replace(one, arrays={}, weights=None), arrays, weights, one.weights is None
    return event


@pytest.mark.parametrize("number", range(7))
def test_events_come_back_as_they_were(number: int, cells: tuple[Cell, ...]) -> None:
    cell = cells[1]
    events: list[Event] = [
        CellStarted(cell),
        CellProgress(cell, 0.25, "epoch 1/4"),
        CellWarning(cell, "UserWarning: ä"),
        CellPart(cell, "images 0 to 9", {"l2": np.array([0.5, np.inf])}),
        *(CellFinished(cell, outcome) for outcome in outcomes()),
    ]
    sent = wire.Message.unpack(wire.message(events[number]).pack())
    assert sent.identity == cell.identity
    assert sent.ends == isinstance(events[number], CellFinished)
    assert as_lists(wire.event(sent, cell)) == as_lists(events[number])


def test_what_is_no_array_fails_its_cell_in_words(cells: tuple[Cell, ...]) -> None:
    strange = Outcome(1.0, 2.0, 3.0, {"a": 1.0}, arrays={"x": np.array([object()])})
    event = wire.event(wire.message(CellFinished(cells[1], strange)), cells[1])
    assert isinstance(event, CellFinished)
    assert event.outcome.error is not None
    assert event.outcome.error.message.startswith("what it found cannot be kept: ")


def test_orders_and_assignments() -> None:
    order = wire.Order(b"unit", ("a", "b"), None, {"data_root": None}, {"x": "y"})
    assert wire.Order.unpack(order.pack()) == order
    job = wire.Job(b"unit", "t", ("a",), {"w": b"123", "v": b""})
    task = Assignment("k", 3, "q", job, Limits(30.0, 2**30), {"threads": 1}, {"torch": "2"})
    assert Assignment.unpack(task.pack()) == task
