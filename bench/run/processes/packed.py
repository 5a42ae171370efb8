"""A unit as plain data: what a suite says of its cells, from which the other end makes them.

Options travel as they stand in the suite; the measure that is imported there reads them again, so
that nothing but names and values is sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bench.measures import base as measures
from bench.plan.cell import Cell, Training
from bench.run.processes.plain import framed, to_plain, unframed
from bench.suite.recipe import Recipe
from bench.suite.schema import BackboneRef, DatasetRef

if TYPE_CHECKING:
    from bench.run.place import Place
    from bench.run.unit import Unit

_TRAINING = (
    "identity", "label", "variant", "seed", "weights", "place", "trial", "weights_sha256",
)  # fmt: skip
_CELL = ("name", "identity", "title", "measure", "item", "exclusive", "given")
_PLACE = ("data_root", "base", "device", "download", "threads", "contents", "code")


def pack(unit: Unit, place: Place) -> bytes:
    """A unit and its place.

    Raises:
        BenchError: an option of a backbone or a data set is no plain data.
    """
    training = unit.training
    return framed(
        {
            "training": _picked(training, _TRAINING),
            "dataset": _picked(training.dataset, DatasetRef.model_fields),
            "backbone": _picked(training.backbone, BackboneRef.model_fields),
            "recipe": training.recipe.model_dump(),
            "train": None if unit.train is None else _picked(unit.train, _CELL),
            "cells": [_picked(cell, _CELL) for cell in unit.cells],
            "trained": unit.trained,
            "parts": unit.parts,
            "place": _picked(place, _PLACE),
        }
    )


def unpack(data: bytes) -> tuple[Unit, Place]:
    """The unit and its place; imports the measures.

    Raises:
        BenchError: a measure is not there, or is another one.
    """
    from bench.run.place import Place
    from bench.run.unit import Unit

    found, _ = unframed(data)
    training = Training(
        **found["training"],
        dataset=DatasetRef.model_construct(**found["dataset"]),
        backbone=BackboneRef.model_construct(**found["backbone"]),
        recipe=Recipe.model_validate(found["recipe"]),
    )
    train = found["train"]
    unit = Unit(
        training,
        None if train is None else _cell(train, training),
        tuple(_cell(cell, training) for cell in found["cells"]),
        found["trained"],
        found["parts"],
    )
    return unit, Place(**found["place"])


def _picked(thing: object, fields: Any) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in fields}


def _cell(found: Mapping[str, Any], training: Training) -> Cell:
    options = None
    if found["measure"] is not None:
        given = json.dumps(to_plain(found["given"]), sort_keys=True)
        options = _options(found["measure"], given)[found["item"]]
    return Cell(training=training, options=options, **found)


@lru_cache(maxsize=64)
def _options(measure: str, given: str) -> Mapping[str | None, Any]:
    """The options of each item of a measure, read as `bench.plan.expand` reads them."""
    from bench.run.processes.plain import from_plain

    found = measures.load(measure)
    options = found.options.model_validate(from_plain(json.loads(given)))
    return {item.label: item.options for item in found.items(options)}
