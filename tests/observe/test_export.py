"""Curves for TensorBoard and MLflow, read back by these tools."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main

Tiny = Callable[..., Path]
RUN = Path("runs/tiny")
NET = "blobs/linear/bu/seed0"


def recorded() -> tuple[list[float], float]:
    """Training losses and the accuracy, as the store has them."""
    with sqlite3.connect(RUN / "results.sqlite") as db:
        (facts,) = db.execute("SELECT facts FROM cells WHERE name LIKE '%/train'").fetchone()
        (top1,) = db.execute("SELECT value FROM tidy WHERE metric = 'top1'").fetchone()
    return json.loads(facts)["losses"], top1


def test_tensorboard(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert main(["run", str(tiny()), "--quiet"]) == 0
    losses, top1 = recorded()
    for _ in range(2):  # the second replaces the first
        assert main(["export", str(RUN), "--to", "tensorboard"]) == 0
    assert "tensorboard --logdir runs/tiny/tensorboard" in capsys.readouterr().out
    found = EventAccumulator(str(RUN / "tensorboard" / NET))
    found.Reload()
    capsys.readouterr()
    with sqlite3.connect(RUN / "results.sqlite") as db:
        db.execute("UPDATE metrics SET value = 1 WHERE metric = 'train_loss'")
    assert main(["export", str(RUN), "--to", "tensorboard", "--out", "elsewhere"]) == 0
    assert capsys.readouterr().err.startswith("note: 1 damaged cell left out; ")
    curve = [(event.step, event.value) for event in found.Scalars("train/loss")]
    assert curve == [(n, pytest.approx(loss)) for n, loss in enumerate(losses, 1)]
    assert [event.value for event in found.Scalars("accuracy/top1")] == [pytest.approx(top1)]


def test_mlflow(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    # MLflow 3 keeps its plain files for those who ask for them.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert main(["run", str(tiny()), "--quiet"]) == 0
    losses, top1 = recorded()
    address = (tmp_path / "mlruns").as_uri()
    for _ in range(2):
        assert main(["export", str(RUN), "--to", "mlflow", "--out", address]) == 0
    client = mlflow.MlflowClient(tracking_uri=address)
    (run,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert run.info.run_name == NET
    assert run.data.params["variant"] == "bu"
    assert run.data.metrics["accuracy/top1"] == top1
    curve = client.get_metric_history(run.info.run_id, "train/loss")
    assert [point.value for point in curve] == losses


def test_nothing_to_export(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "nowhere", "--to", "tensorboard"]) == 2
    assert "no run there" in capsys.readouterr().err
