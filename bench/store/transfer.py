"""Taking over a finished training from another run directory."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.identity import own_code
from bench.store import files
from bench.store.database import Store
from bench.store.outcome import Outcome
from bench.store.provenance import versions
from leaderboard.results import MetricInfo


def environment(device: str) -> dict[str, Any]:
    """What must agree for weights of another run to count: our code to the letter (who edits how
    networks are trained and runs again wants to see it), the libraries that networks come from,
    kind of device, and whether it computes bfloat16 natively, which decides what
    `precision: auto` comes to."""
    import torch

    from bench.models.hardware import computes_bf16

    return {
        "code": own_code(),
        **versions(("torch", "torchvision", "timm")),
        "device": device.partition(":")[0],
        "native_bf16": computes_bf16(torch.device(device)),
    }


def training_from(
    folder: Path, identity: str, device: str, content: str | None = None
) -> Outcome | None:
    """The finished training `identity` of the run in `folder`, or None if it cannot be used:
    not done, done elsewhere than on this torch version and kind of device, on a data set of another
    `content` (its fingerprint), or damaged."""
    from safetensors.torch import load

    try:
        other = Store.open(folder)
    except BenchError:
        return None
    try:
        row = _finished(other, identity, device)
        if row is None:
            return None
        facts = json.loads(row["facts"])
        if facts.get("content") != content:
            return None
        weights = load(files.verified(folder / row["file"], row["sha256"]))
        found = other.rows(
            "SELECT metric, value, info FROM metrics WHERE identity = ? ORDER BY position", identity
        )
    except BenchError:
        return None
    finally:
        other.close()
    infos = {r["metric"]: MetricInfo(**json.loads(r["info"])) for r in found if r["info"] != "{}"}
    return Outcome(
        started=row["started"],
        seconds=row["seconds"],
        cpu_seconds=row["cpu_seconds"],
        metrics={r["metric"]: r["value"] for r in found},
        infos=infos,
        weights=weights,
        facts={**facts, "taken_from": folder.name},
    )


def has_training(folder: Path, identity: str, device: str) -> bool:
    """Whether `training_from` finds that training if the data set has the same content still, which
    is not looked at. Nothing is changed on the disk."""
    try:
        other = Store.open(folder)
    except BenchError:
        return False
    try:
        return _finished(other, identity, device) is not None
    except BenchError:
        return False
    finally:
        other.close()


def _finished(other: Store, identity: str, device: str) -> sqlite3.Row | None:
    """The record of a training that is done, whole, and of the same environment."""
    row = other.finished(identity)
    if row is None or row["status"] != "done" or row["file"] is None:
        return None
    if not other.is_whole(identity):
        return None
    same = json.loads(row["facts"]).get("environment") == environment(device)
    return row if same else None
