"""The run directory, used the way the executor and the report use it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.cli import main
from bench.errors import BenchError
from bench.store import files
from bench.store.database import Store
from bench.store.outcome import Failed, Outcome
from bench.store.read import results
from leaderboard.results import MetricInfo

PLANNED = [
    ("id1", "d/b/bu/seed0/train", "d", "b", "bu", 0, "train"),
    ("id2", "d/b/bu/seed0/accuracy", "d", "b", "bu", 0, "accuracy"),
    ("id3", "d/b/bu/seed0/robustness/noise", "d", "b", "bu", 0, "robustness/noise"),
]
PROVENANCE = {
    "suite": "s",
    "suite_text": "name: s",
    "command": "bench run s",
    "python": "3",
    "versions": {"torch": "2"},
    "git_commit": "abc",
    "hardware": "a machine",
}
INFO = MetricInfo("accuracy", "%", "higher", decimals=1, headline=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create_or_open(tmp_path / "run")
    made.set_plan("plan", PLANNED)
    return made


def outcome(**more: object) -> Outcome:
    return Outcome(1.0, 2.0, 3.0, **more)  # type: ignore[arg-type]


def test_a_result_comes_back_as_it_was_measured(store: Store) -> None:
    session = store.begin(PROVENANCE)
    metrics = {"top1": 81.25, "top1[shirt]": 60.0, "worst": float("inf")}
    store.record(session, "id2", PLANNED[1][1], outcome(metrics=metrics, infos={"top1": INFO}))
    found = results(store)
    assert [(row.metric, row.value, row.unit) for row in found.rows] == [
        ("top1", 81.25, "%"),
        ("top1[shirt]", 60.0, "%"),
        ("worst", float("inf"), ""),
    ]
    assert found.metrics["accuracy", "top1"] == INFO
    assert not found.metrics["accuracy", "top1[shirt]"].headline
    assert [gone.cell for gone in found.missing] == [PLANNED[0][1], PLANNED[2][1]]
    assert found.provenance["hardware"] == "a machine"


def test_how_trainings_computed_is_shown(store: Store) -> None:
    store.set_plan("more", [*PLANNED, ("id4", "d/b/td/seed0/train", "d", "b", "td", 0, "train")])
    session = store.begin(PROVENANCE)
    way = {"mode": "fast", "precision": "bf16", "memory_format": "channels_last", "threads": 1}
    for identity, more in (
        ("id1", {"cuda_graph": True}),
        ("id4", {"cuda_graph": False, "note": "no CUDA graph: why"}),
    ):
        store.record(session, identity, identity, outcome(facts={"training": {**way, **more}}))
    assert results(store).provenance["training"] == (
        "1 training: fast mode, bf16, channels_last, 1 CPU thread, "
        "steps replayed as a CUDA graph; "
        "1 training: fast mode, bf16, channels_last, 1 CPU thread, no CUDA graph: why"
    )


def test_cells_that_were_measured_with_other_versions_are_told(store: Store) -> None:
    """The page names the last session's; a run that is carried on after an upgrade has others."""
    first = store.begin({**PROVENANCE, "versions": {"torch": "1", "numpy": "2"}})
    for identity in ("id1", "id2"):
        store.record(first, identity, identity, outcome(metrics={"top1": 1.0}))
    idle = {**PROVENANCE, "python": "2", "versions": {"torch": "0"}}
    store.begin(idle)  # did nothing that is still there
    last = store.begin({**PROVENANCE, "versions": {"torch": "2", "numpy": "2", "timm": "1"}})
    assert results(store).provenance["versions"] == "Python 3, numpy 2, timm 1, torch 2" + (
        " (2 of 2 measured cells with torch 1)"
    )
    store.record(last, "id3", "id3", outcome(metrics={"top1": 1.0}))
    assert results(store).provenance["versions"].endswith("(2 of 3 measured cells with torch 1)")
    store.record(last, "id1", "id1", outcome(metrics={"top1": 1.0}))
    store.record(last, "id2", "id2", outcome(metrics={"top1": 1.0}))
    assert results(store).provenance["versions"] == "Python 3, numpy 2, timm 1, torch 2"


def test_commits_at_which_cells_were_measured_are_told(store: Store) -> None:
    for number, identity in enumerate(("id1", "id2", "id3")):
        session = store.begin({**PROVENANCE, "git_commit": "old" if number < 2 else "new"})
        store.record(session, identity, identity, outcome(metrics={"top1": 1.0}))
        if number < 2:
            assert "commits" not in results(store).provenance
    assert results(store).provenance["commits"] == "old (2), new (1) (measured cells)"


def test_failures_are_rows_and_can_be_mended(store: Store) -> None:
    session = store.begin(PROVENANCE)
    error = Failed("ValueError", "bad | value", "Traceback ...")
    store.record(session, "id2", PLANNED[1][1], outcome(error=error))
    assert store.statuses() == {"id2": "failed"}
    (failure,) = results(store).failures
    assert failure.error == "ValueError: bad | value"
    store.record(session, "id2", PLANNED[1][1], outcome(metrics={"top1": 1.0}))
    assert store.statuses() == {"id2": "done"}
    assert results(store).failures == ()


def test_arrays_are_on_the_disk_before_the_row_that_names_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = store.begin(PROVENANCE)
    seen: list[bool] = []
    before = Store.transaction

    def watch(self: Store) -> object:
        seen.append((self.folder / "arrays" / "id3.safetensors").exists())
        return before(self)

    monkeypatch.setattr(Store, "transaction", watch)
    store.record(session, "id3", PLANNED[2][1], outcome(arrays={"l2": np.array([0.0, np.inf])}))
    assert seen == [True]
    (sample,) = results(store).samples
    assert sample.attack == "noise"
    assert sample.l2.tolist() == [0.0, np.inf]


def test_full_disk_leaves_no_row(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    session = store.begin(PROVENANCE)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.record(session, "id3", PLANNED[2][1], outcome(arrays={"l2": np.zeros(3)}))
    assert store.statuses() == {}
    assert not (store.folder / "arrays" / "id3.safetensors").exists()


def test_half_written_files_are_swept_when_the_run_is_opened_again(store: Store) -> None:
    part = store.folder / "arrays" / ("id9.safetensors" + files.PART)
    part.parent.mkdir()
    part.write_bytes(b"half")
    store.close()
    Store.create_or_open(store.folder).close()
    assert not part.exists()


def test_only_what_a_run_writes_is_swept(store: Store) -> None:
    """A run below this one may be writing at this moment, and other files are their user's."""
    others = [
        store.folder / "other" / "weights" / ("id1.safetensors" + files.PART),
        store.folder / "notes" / "download.part",
        store.folder / "download.part",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    store.close()
    Store.create_or_open(store.folder).close()
    assert all(path.exists() for path in others)


def test_damage_is_found(store: Store) -> None:
    session = store.begin(PROVENANCE)
    store.record(session, "id1", PLANNED[0][1], outcome(weights={"w": torch.arange(100.0)}))
    path = store.folder / "weights" / "id1.safetensors"
    assert store.is_whole("id1")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert not store.is_whole("id1")
    path.unlink()
    assert not store.is_whole("id1")


def test_two_runs_cannot_share_a_directory(store: Store) -> None:
    with pytest.raises(BenchError, match="another run is at work there"):
        Store.create_or_open(store.folder)
    store.close()
    Store.create_or_open(store.folder).close()


def test_results_of_cells_no_longer_planned_are_kept_but_not_shown(store: Store) -> None:
    session = store.begin(PROVENANCE)
    store.record(session, "id2", PLANNED[1][1], outcome(metrics={"top1": 1.0}))
    store.set_plan("other", PLANNED[:1])
    assert results(store).rows == ()
    store.set_plan("plan", PLANNED)
    assert len(results(store).rows) == 1


def test_strangers_and_other_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(BenchError, match="not a run directory"):
        Store.create_or_open(tmp_path)
    made = Store.create_or_open(tmp_path / "run")
    made.set_facts({"format": "9\n9"})
    made.close()
    with pytest.raises(BenchError, match="damaged") as raised:
        Store.open(tmp_path / "run")
    assert "\n" not in str(raised.value)


def test_a_run_of_a_newer_version_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    made = Store.create_or_open(run)
    made.set_facts({"format": "3"})
    made.close()
    before = (run / "results.sqlite").read_bytes()
    for words in (["report"], ["doctor"], ["doctor", "--repair"]):
        assert main([*words, str(run)]) == 2
        assert capsys.readouterr().err == (
            f"{run}: written by a newer version of topdown-bench (format 3; this one knows 2); use "
            "that version, nothing of the run was changed\n"
        )
    assert (run / "results.sqlite").read_bytes() == before


@pytest.mark.parametrize("number", ["'x'", "x'ff'", "9223372036854775807", "7"])
def test_a_session_never_has_the_number_of_one_that_is_gone(tmp_path: Path, number: str) -> None:
    """Its cells would seem to be measured in it; damaged, a number may be anything."""
    store = Store.create_or_open(tmp_path / "run")
    store.record(store.begin(PROVENANCE), "id1", PLANNED[0][1], outcome(metrics={"top1": 1.0}))
    store.close()
    with sqlite3.connect(tmp_path / "run" / "results.sqlite") as database:
        database.execute(f"UPDATE cells SET session = {number}")
    database.close()
    store = Store.create_or_open(tmp_path / "run")
    assert store.begin(PROVENANCE) == (8 if number == "7" else 2)
    store.close()


def test_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(BenchError, match="cannot be used as a run directory"):
        Store.create_or_open(tmp_path / "file" / "run")


def test_wal_and_foreign_keys(store: Store) -> None:
    with sqlite3.connect(store.folder / "results.sqlite") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
