"""The networks that a run has trained: found by the suite that it keeps, loaded from its files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.plan.cell import Plan, Training
from bench.plan.expand import expand
from bench.plan.recorded import read_recorded
from bench.store import files
from bench.store.database import Store
from bench.store.outcome import error_text
from bench.store.rebuild import LEFT_OUT
from bench.store.tuned import recorded_recipe
from bench.suite.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from bench.data.dataset import Dataset
    from bench.models.network import Network


@dataclass(frozen=True, slots=True)
class Trained:
    """A network of a run. `file` holds its weights, with `sha256` unless they are the suite's own;
    `missing` says why there is none. `changed`: code or data are no longer those of the training,
    or of what was measured of the suite's own weights.
    """

    training: Training
    file: Path | None = None
    sha256: str | None = None
    missing: str = ""
    changed: bool = False


def plan_of(store: Store) -> Plan:
    """The plan of the suite that a run keeps.

    Raises:
        BenchError: nothing was run there, or the suite cannot be used any more.
    """
    facts = store.facts()
    if "suite_text" not in facts:
        raise BenchError(f"{store.folder}: nothing was run there yet")
    # Neither runs of earlier versions nor unpacked ones say where their suite lay.
    base = Path(facts["base"]) if facts.get("base") else Path.cwd()
    return expand(read_recorded(facts["suite_text"], f"suite of {store.folder}", base))


def trained(store: Store, plan: Plan) -> list[Trained]:
    """Every training of the plan, each label once, with its weights or why it has none."""
    recorded = {row["name"]: row["identity"] for row in store.rows("SELECT * FROM planned")}
    names = {cell.identity: cell.name for cell in plan.cells if cell.measure is None}
    found: dict[str, Trained] = {}
    for training in (cell.training for cell in plan.cells):
        if training.label not in found and not training.trial:
            # By its name: where code has changed since, the identity is another one now.
            name = names.get(training.identity, "")
            identity = recorded.get(name, training.identity)
            if training.weights is None:
                found[training.label] = _found(store, training, identity)
            else:
                changed = any(
                    recorded.get(cell.name, cell.identity) != cell.identity
                    for cell in plan.cells
                    if cell.training.label == training.label
                )
                found[training.label] = Trained(training, training.weights, changed=changed)
    return list(found.values())


def _found(store: Store, training: Training, identity: str) -> Trained:
    row = store.finished(identity)
    if row is None:
        return Trained(training, missing="it is not trained yet")
    if row["file"] is None:
        error = error_text(row["error_kind"], row["error"])
        return Trained(training, missing=f"its training failed: {error}")
    if training.tuning is not None:
        recipe = recorded_recipe(store, identity)
        if recipe is None:
            return Trained(training, missing="what it was trained with is not recorded")
        training = training.settled(Recipe.model_validate(recipe))
    file = store.folder / row["file"]
    if not os.path.exists(file) and LEFT_OUT in store.facts():
        return Trained(training, missing="the run was packed without its weights")
    return Trained(training, file, row["sha256"], changed=identity != training.identity)


def load(one: Trained, dataset: Dataset, device: torch.device) -> Network:
    """The network with its weights, ready to predict on the device.

    Raises:
        BenchError: there are no weights, they are damaged, or they do not fit the network.
        RuntimeError, MemoryError: memory runs out.
    """
    from bench.models.memory import is_out_of_memory
    from bench.run.networks import load_network

    if one.file is None:
        raise BenchError(f"{one.training.label}: {one.missing}")
    try:
        if one.sha256 is not None:
            _verify(one.file, one.sha256)
        return load_network(one.training, one.file, dataset, device)
    except BenchError as error:
        raise BenchError(f"{one.training.label}: {error}") from None
    except Exception as error:  # a plugin that cannot be built any more raises anything
        if is_out_of_memory(error):
            raise
        first = (str(error).splitlines() or [""])[0]
        text = f"{one.training.label}: cannot be built: {type(error).__name__}: {first}"
        raise BenchError(text) from None


def _verify(file: Path, sha256: str) -> None:
    try:
        files.verified(file, sha256)
    except BenchError as error:
        mend = f"`python -m bench doctor {file.parent.parent} --repair`"
        text = f"{error}; {mend}, then `bench run` of its suite trains it again"
        raise BenchError(text) from None
