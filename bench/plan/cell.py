"""Cells: the smallest pieces of a run that are done, failed or still to do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.suite.claims import ClaimKeys
from bench.suite.recipe import Recipe
from bench.suite.schema import BackboneRef, DatasetRef


def weights_path(name: str, base: Path) -> Path:
    """A weights file as a suite in the folder `base` names it."""
    return base / os.path.expanduser(name)


@dataclass(frozen=True, slots=True)
class Training:
    """One trained network: shared by every cell that measures it.

    `weights` names a file to load instead of training. `label` is
    `dataset/backbone/variant/seed0`, `place` where the suite names the backbone
    (`file:line: backbones[0]`).
    """

    identity: str
    label: str
    dataset: DatasetRef
    backbone: BackboneRef
    variant: str
    seed: int
    recipe: Recipe
    weights: Path | None
    place: str

    @property
    def pair(self) -> str:
        """The label without the seed."""
        return f"{self.dataset.label}/{self.backbone.label}/{self.variant}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement, or the training itself (`measure` is None).

    `name` is `dataset/backbone/variant/seed0/robustness/gaussian_blur`, `title` its tail
    (`robustness/gaussian_blur`, `accuracy`, `train`). `measure` is a name, not the measure: a
    cell must be able to travel to a worker, and `given` are the measure's options as the suite has
    them, from which that one makes `options` anew. `exclusive` cells share the machine with nobody.
    """

    name: str
    identity: str
    title: str
    training: Training
    measure: str | None
    item: str | None
    options: Any
    exclusive: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one cell may take: wall seconds, and bytes of resident memory (of its process and that
    one's children, PyTorch included). Not part of a cell's identity, for no result depends on it.
    """

    seconds: float | None = None
    memory: int | None = None

    def __bool__(self) -> bool:
        return self.seconds is not None or self.memory is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """All cells of a suite, in order: each training before what measures it. `notes` are
    sentences on how it is measured, `claims` what the page is to judge."""

    suite: str
    base: Path
    text: str
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()
    limits: Limits = Limits()
    claims: tuple[ClaimKeys, ...] = ()
