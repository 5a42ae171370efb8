"""Cells: the smallest pieces of a run that are done, failed or still to do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.suite.claims import ClaimKeys
from bench.suite.recipe import Recipe, RecipeKeys
from bench.suite.schema import BackboneRef, DatasetRef


def weights_path(name: str, base: Path) -> Path:
    """A weights file as a suite in the folder `base` names it."""
    return base / os.path.expanduser(name)


@dataclass(frozen=True, slots=True)
class Tuning:
    """The search that the recipe of a training comes from.

    `candidates` are recipe values in the order of the suite, `trials` the identities of the cells
    that try them.
    """

    candidates: tuple[Mapping[str, Any], ...]
    trials: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Training:
    """One trained network: shared by every cell that measures it.

    `weights` names a file to load instead of training, and `weights_sha256` is what that must
    contain. `label` is
    `dataset/backbone/variant/seed0`, `place` where the suite names the backbone
    (`file:line: backbones[0]`). With `tuning`, one of its candidates goes over `recipe`, and which
    is known when all trials are over. A `trial` is a training that only its validation accuracy is
    wanted of; its label is `dataset/backbone/variant/tune/lr=0.1`.
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
    tuning: Tuning | None = None
    trial: bool = False
    weights_sha256: str | None = None

    @property
    def pair(self) -> str:
        """The label without the seed."""
        return f"{self.dataset.label}/{self.backbone.label}/{self.variant}"

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """All recipes that it may come to be trained with; one without tuning."""
        if self.tuning is None:
            return (self.recipe,)
        return tuple(self.recipe.overridden(RecipeKeys(**c)) for c in self.tuning.candidates)

    def settled(self, recipe: Recipe) -> Training:
        """This training with the recipe that its trials have chosen."""
        return replace(self, recipe=recipe, tuning=None)


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement, or the training itself (`measure` is None).

    `name` is `dataset/backbone/variant/seed0/robustness/gaussian_blur`, `title` its tail
    (`robustness/gaussian_blur`, `accuracy`, `train`, `tune/lr=0.1`). `measure` is a name, not the
    measure: a cell must be able to travel to a worker, and `given` are the measure's options as the
    suite has them, from which that one makes `options` anew. `exclusive` cells share the machine
    with nobody.
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
    one's children, without mapped files). Not part of a cell's identity, for no result depends on
    it.
    """

    seconds: float | None = None
    memory: int | None = None

    def __bool__(self) -> bool:
        return self.seconds is not None or self.memory is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """All cells of a suite, in order: each training before what measures it, and trials before
    what they choose a recipe for. `notes` are sentences on how it is measured, `claims` what the
    page is to judge, `unfit` sentences on claims with entries that fit nothing in the suite,
    `searches` what is searched for each network (plain data)."""

    suite: str
    base: Path
    text: str
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()
    limits: Limits = Limits()
    claims: tuple[ClaimKeys, ...] = ()
    unfit: tuple[str, ...] = ()
    searches: tuple[Mapping[str, Any], ...] = ()
