"""Whatever stands in a run directory, it is read or refused in words; whatever a cell gives, it is
recorded."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.store import doctor
from bench.store.database import Store
from bench.store.outcome import Failed, Outcome
from bench.store.read import read, results
from leaderboard.results import MetricInfo, Row

PLANNED = [
    ("id1", "d/b/bu/seed0/accuracy", "d", "b", "bu", 0, "accuracy"),
    ("id2", "d/b/bu/seed0/robustness/noise", "d", "b", "bu", 0, "robustness/noise"),
    ("id3", "d/b/bu/seed0/other", "d", "b", "bu", 0, "other"),
]
PROVENANCE = {
    "suite": "s", "suite_text": "name: s", "command": "bench run s", "python": "3",
    "versions": {"torch": "2"}, "git_commit": "abc", "hardware": "a machine",
}  # fmt: skip
TABLES = {
    "facts": ("key", "value"),
    "sessions": ("id", "started", "ended", "provenance"),
    "planned": ("position", "identity", "name", "dataset", "seed", "measure"),
    "cells": (
        "identity",
        "name",
        "status",
        "session",
        "started",
        "error",
        "file",
        "sha256",
        "facts",
    ),
    "metrics": ("identity", "position", "metric", "value", "unit", "info"),
    "seals": ("kind", "key", "digest"),
}
few = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
cell_values = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=6),
    st.binary(max_size=6), st.sampled_from(["{}", "[]", "id1", "id2", "failed", "../../x", "inf"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("store") / "run"
    store = Store.create_or_open(run)
    store.set_facts({"suite": "s", "suite_text": "name: s"})
    store.set_plan("plan", PLANNED)
    session = store.begin(PROVENANCE)
    found = Outcome(1.0, 2.0, 3.0, {"top1": 81.5}, {"top1": MetricInfo("top1")})
    store.record(session, "id1", PLANNED[0][1], found)
    arrays = {"l2": np.array([0.5, 0.0, np.inf]), "index": np.arange(3)}
    store.record(session, "id2", PLANNED[1][1], Outcome(1.0, 2.0, 3.0, {"m": 1.0}, arrays=arrays))
    error = Failed("ValueError", "no", "Traceback")
    store.record(session, "id3", PLANNED[2][1], Outcome(1.0, 2.0, 3.0, error=error))
    store.end(session)
    store.close()
    return run


@contextmanager
def copied(healthy: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(healthy, Path(folder) / "run"))


def rows(run: Path) -> set[Row]:
    """What a report shows; nothing if it is refused, which must be in words."""
    try:
        store = Store.open(run)
        try:
            return set(results(store).rows)
        finally:
            store.close()
    except BenchError as error:
        one_line = str(error).count("\n") == 0
    assert one_line
    return set()


def mended(run: Path) -> None:
    """Repaired, it is whole, and can be run in."""
    try:
        list(doctor.examine(run, repair=True))
    except BenchError as error:
        if "newer version" not in str(error):
            raise
        return
    assert [one for one in doctor.examine(run, repair=False) if not one.finding.harmless] == []
    Store.create_or_open(run).close()


@few
@given(data=st.data())
def test_bytes_of_the_database(healthy: Path, data: st.DataObject) -> None:
    with copied(healthy) as run:
        path = run / "results.sqlite"
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, len(content) - 1))
            new = data.draw(st.binary(min_size=1, max_size=40))
            content[place : place + len(new)] = new
        path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
        assert rows(run) <= rows(healthy)
        mended(run)
        assert rows(run) <= rows(healthy)


@few
@given(data=st.data())
def test_values_of_the_tables(healthy: Path, data: st.DataObject) -> None:
    with copied(healthy) as run:
        db = sqlite3.connect(run / "results.sqlite")
        for _ in range(data.draw(st.integers(1, 3))):
            table = data.draw(st.sampled_from(sorted(TABLES)))
            column = data.draw(st.sampled_from(TABLES[table]))
            try:
                with db:
                    db.execute(
                        f"UPDATE OR REPLACE {table} SET {column} = ?", (data.draw(cell_values),)
                    )
            except (sqlite3.Error, OverflowError, UnicodeEncodeError):
                continue  # not even SQLite takes it
        db.close()
        assert rows(run) <= rows(healthy)
        mended(run)
        assert rows(run) <= rows(healthy)


@few
@given(data=st.data())
def test_bytes_of_the_files(healthy: Path, data: st.DataObject) -> None:
    with copied(healthy) as run:
        (path,) = (run / "arrays").iterdir()
        path.write_bytes(data.draw(st.binary(max_size=60)))
        store = Store.open(run)
        found = read(store)
        store.close()
        assert set(found.damaged) == {"id2"}
        assert found.results.samples == ()
        mended(run)


names = st.text(max_size=8)


@few
@given(
    metrics=st.dictionaries(names, st.floats(allow_nan=False, min_value=-1e300), max_size=4),
    words=st.lists(names, min_size=5, max_size=5),
    arrays=st.dictionaries(st.sampled_from("abc"), st.lists(st.floats(), max_size=3), max_size=2),
)
def test_whatever_a_cell_gives_is_recorded(
    metrics: dict[str, float], words: list[str], arrays: dict[str, list[float]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create_or_open(Path(folder) / "run")
        store.set_plan("plan", PLANNED)
        session = store.begin({**PROVENANCE, "notes": [words[0]]})
        infos = {name: MetricInfo(words[1], words[2]) for name in metrics}
        found = {name: np.array(value) for name, value in arrays.items()}
        outcome = Outcome(1.0, 2.0, 3.0, metrics, infos, found, facts={"said": words[3]})
        store.record(session, "id1", PLANNED[0][1], outcome)
        error = Failed(words[0], words[1], words[4])
        store.record(session, "id3", PLANNED[2][1], Outcome(1.0, 2.0, 3.0, error=error))
        assert store.broken().cells == {}
        assert store.is_whole("id1")
        shown = {row.metric: row.value for row in results(store).rows}
        store.close()
    escaped = {name.encode("utf-8", "backslashreplace").decode(): v for name, v in metrics.items()}
    assert shown == escaped
