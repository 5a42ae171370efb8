"""Curves for TensorBoard and MLflow, read back by these tools."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

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


class Writer:
    """What TensorBoard is asked to write, by folder."""

    written: dict[str, dict[str, float]]

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        folder.mkdir(parents=True, exist_ok=True)

    def add_scalar(self, name: str, value: float, epoch: int, walltime: float) -> None:
        self.written.setdefault(self.folder, {})[name] = value

    def close(self) -> None:
        (Path(self.folder) / "events.out.tfevents.0").touch()


TWO_NAMES = (
    (
        "[tiny_nets:linear]",
        "[{name: 'tiny_nets:linear', label: 'a:b'}, {name: "
        "'tiny_nets:linear', label: a-b, side: 12}]",
    ),
    (
        "{name: gaussian_blur, epsilons: 20}",
        "{name: gaussian_blur, epsilons: 20, label: 'x=1'}, "
        "{name: gaussian_blur, epsilons: 10, label: x-1}, {name: gaussian_blur, label: 'x+1'}",
    ),
)


def test_networks_whose_names_tensorboard_cannot_tell_apart(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    Writer.written = {}
    fake = ModuleType("torch.utils.tensorboard")
    monkeypatch.setattr(fake, "SummaryWriter", Writer, raising=False)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    assert main(["run", str(tiny(*TWO_NAMES)), "--quiet"]) == 0
    for _ in range(2):
        assert main(["export", str(RUN), "--to", "tensorboard"]) == 0
    folders = [Path(folder).relative_to(RUN / "tensorboard") for folder in Writer.written]
    assert len(folders) == 2, "one would replace the other"
    assert Path("blobs/a-b/bu/seed0") in folders, "who has the name keeps it"
    files = [*(RUN / "tensorboard").rglob("events.*")]
    assert len(files) == 2
    assert len({file.parent for file in files}) == 2


class Client:
    """What MLflow is asked to log, of a single network."""

    logged: list[str]

    def __init__(self, tracking_uri: str) -> None: ...

    def get_experiment_by_name(self, name: str) -> None: ...

    def create_experiment(self, name: str) -> str:
        return "1"

    def search_runs(self, experiments: list[str]) -> list[object]:
        return []

    def create_run(self, number: str, start_time: int, run_name: str) -> SimpleNamespace:
        return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

    def log_batch(self, run: str, metrics: tuple[str, ...] = (), params: object = ()) -> None:
        self.logged += metrics

    def set_terminated(self, run: str) -> None: ...


def test_numbers_whose_names_mlflow_cannot_tell_apart(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    Client.logged = []
    parts: dict[str, dict[str, object]] = {
        "mlflow": {"MlflowClient": Client},
        "mlflow.entities": {"Metric": lambda name, *_: name, "Param": lambda *_: ""},
        "mlflow.exceptions": {"MlflowException": KeyError},
    }
    for name, contents in parts.items():
        fake = ModuleType(name)
        for attribute, value in contents.items():
            monkeypatch.setattr(fake, attribute, value, raising=False)
        monkeypatch.setitem(sys.modules, name, fake)
    assert main(["run", str(tiny(TWO_NAMES[1])), "--quiet"]) == 0
    assert main(["export", str(RUN), "--to", "mlflow"]) == 0
    medians = [name for name in Client.logged if "/median_l2" in name]
    assert len(medians) == len({*medians}) == 3
    assert "robustness/x-1/median_l2" in medians, "who has the name keeps it"
    assert all(c.isalnum() or c in "_-. /" for name in medians for c in name)


def test_nothing_to_export(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "nowhere", "--to", "tensorboard"]) == 2
    assert "no run there" in capsys.readouterr().err
