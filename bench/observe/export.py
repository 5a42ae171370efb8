"""A run's curves and numbers for TensorBoard or MLflow, read from the store.

Written from what was recorded, so a run that is still at work, was killed, or was measured
elsewhere is exported in the same way, as often as one likes.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import BenchError
from bench.identity import digest
from bench.store.database import Store

CELLS = """SELECT p.identity, p.dataset, p.backbone, p.variant, p.seed, p.measure, c.started,
    c.facts FROM planned p JOIN cells c USING (identity) WHERE c.status = 'done'
    AND p.measure NOT LIKE 'tune/%' ORDER BY p.position"""
NUMBERS = "SELECT metric, value FROM metrics WHERE identity = ? ORDER BY position"


@dataclass(slots=True)
class Curves:
    """One network of a run: `label` is `dataset/backbone/variant/seed0`. `curves` are values by
    epoch, from 1 on; `numbers` what was measured in the end, by `measure/metric`."""

    label: str
    started: float
    parameters: dict[str, str]
    curves: dict[str, list[float | None]] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """The length of the longest curve."""
        return max((len(values) for values in self.curves.values()), default=0)


def curves(store: Store) -> list[Curves]:
    """Every network of the plan of which something is done; damaged cells are left out, and so
    are infinite numbers, which neither tool can draw."""
    with store.snapshot():
        damaged = store.broken().cells
        found: dict[str, Curves] = {}
        for identity, dataset, backbone, variant, seed, measure, started, facts in store.tuples(
            CELLS
        ):
            if identity in damaged:
                continue
            label = f"{dataset}/{backbone}/{variant}/seed{seed}"
            named = {"dataset": dataset, "backbone": backbone, "variant": variant}
            one = found.setdefault(label, Curves(label, started, {**named, "seed": str(seed)}))
            if measure == "train":
                told = json.loads(facts)
                one.curves["train/loss"] = told.get("losses", [])
                one.curves["validation/top1"] = told.get("validation", [])
            for metric, value in store.tuples(NUMBERS, identity):
                if math.isfinite(value):
                    one.numbers[f"{measure}/{metric}"] = value
    return list(found.values())


def points(one: Curves) -> Iterator[tuple[str, float, int]]:
    """Name, value and epoch of each point; what was measured in the end is at the last epoch."""
    for name, values in one.curves.items():
        for epoch, value in enumerate(values, 1):
            if value is not None and math.isfinite(value):
                yield name, value, epoch
    for name, value in one.numbers.items():
        yield name, value, one.epochs


def to_tensorboard(found: list[Curves], folder: Path) -> None:
    """Write a folder of event files for each network; earlier exports of it are replaced.

    Raises:
        BenchError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BenchError(_missing("TensorBoard", "tensorboard")) from None
    places = _apart((one.label for one in found), lambda label: label.replace(":", "-"))
    for one in found:
        place = folder / places[one.label]
        for old in place.glob("events.out.tfevents.*"):
            old.unlink()
        writer = SummaryWriter(place)
        for name, value, epoch in points(one):
            writer.add_scalar(name, value, epoch, walltime=one.started)
        writer.close()


def to_mlflow(found: list[Curves], address: str, experiment: str) -> None:
    """Log a run of MLflow for each network to a tracking server or folder; earlier exports of it
    in this experiment are replaced.

    Raises:
        BenchError: MLflow is not installed, or the server does not take it.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise BenchError(_missing("MLflow", "mlflow")) from None
    try:
        client = MlflowClient(tracking_uri=address)
        known = client.get_experiment_by_name(experiment)
        number = known.experiment_id if known else client.create_experiment(experiment)
        old = {run.info.run_name: run.info.run_id for run in client.search_runs([number])}
        for one in found:
            if one.label in old:
                client.delete_run(old[one.label])
            start = int(1000 * one.started)
            run = client.create_run(number, start_time=start, run_name=one.label)
            names = _apart((name for name, _, _ in points(one)), _name)
            metrics = [Metric(names[n], value, start, epoch) for n, value, epoch in points(one)]
            parameters = [Param(key, value) for key, value in one.parameters.items()]
            for begin in range(0, len(metrics), 1000):  # no more are taken at once
                client.log_batch(run.info.run_id, metrics=metrics[begin : begin + 1000])
            client.log_batch(run.info.run_id, params=parameters)
            client.set_terminated(run.info.run_id)
    except MlflowException as error:
        first = (str(error).splitlines() or [""])[0]
        raise BenchError(f"{address}: MLflow does not take it: {first}") from None


def _apart(names: Iterable[str], allowed: Callable[[str], str]) -> dict[str, str]:
    """What a tool calls each of the names, given how it writes one: who is allowed its own name
    keeps it, and of others that would share one each gets a hash behind it."""
    found = {name: allowed(name) for name in names}
    often = Counter(found.values())
    return {
        name: other if name == other or often[other] == 1 else f"{other}-{digest(name)[:6]}"
        for name, other in found.items()
    }


def _name(text: str) -> str:
    """A name as MLflow allows it."""
    return "".join(c if c.isalnum() or c in "_-. /" else "-" for c in text)


def _missing(tool: str, extra: str) -> str:
    return f"{tool} is not installed: pip install 'topdown-bench[{extra}]'"
