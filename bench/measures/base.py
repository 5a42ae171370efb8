"""The contract of a measure, and the registry of all of them.

A measure is declared without importing torch, so that plans and listings are quick; its `run`
imports what it needs. The simplest plugin is a function `(context) -> {"metric": value}`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, create_model

from bench.errors import BenchError
from bench.registry import Registry
from leaderboard.results import MetricInfo

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from bench.data.dataset import Dataset
    from bench.models.network import Network

REGISTRY = Registry(
    "measure",
    {
        "accuracy": ("bench.measures.accuracy:MEASURE", "top-1 on the test set, also per class"),
        "robustness": (
            "bench.measures.robustness:MEASURE",
            "smallest L2 perturbation per image that fools the network, per attack",
        ),
        "corruptions": (
            "bench.measures.corruptions:MEASURE",
            "error under the 15 common corruptions at 5 severities",
        ),
        "localization": (
            "bench.measures.localization:MEASURE",
            "heatmaps (Grad-CAM and others) against masks of the objects",
        ),
        "faithfulness": (
            "bench.measures.faithfulness:MEASURE",
            "whether the class goes with the pixels that its heatmap marks: deletion, insertion",
        ),
        "efficiency": (
            "bench.measures.efficiency:MEASURE",
            "parameters, FLOPs and MACs, peak memory, images/s, latency, energy",
        ),
    },
)


class NoOptions(BaseModel):
    """Options of a measure that takes none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Parts:
    """Finished parts of a cell, kept while it is measured so that an interrupted one carries on.

    A part is named by what it is ("images 0 to 256 of 1000") and holds arrays. This one keeps
    nothing; in a run they are kept in the run directory until the cell is finished.
    """

    def get(self, name: str) -> Mapping[str, NDArray[Any]] | None:
        """The arrays of a part that was finished earlier, or None."""
        return None

    def put(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep a finished part."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a measure gets: a trained network (in eval mode), the data, and where to work.

    `item` is the part of the measure that this cell is (an attack's label), or None;
    `options` are the validated options of that item as plain data. `progress(share)` may be
    called now and then with the share that is done, 0 to 1. `parts` keeps what is done already.
    """

    network: Network
    dataset: Dataset
    device: torch.device
    seed: int
    item: str | None
    options: Any
    progress: Callable[[float], None] = lambda share: None
    parts: Parts = field(default_factory=Parts)
    known: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """What a measure found: scalar metrics, and arrays with one row per sample."""

    metrics: Mapping[str, float]
    arrays: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Item:
    """One cell's share of a measure: its label (None: the measure is one cell), what its result
    depends on (`key`, plain data: goes into the identity), and the options handed to `run`."""

    label: str | None
    key: Mapping[str, Any]
    options: Any


def one_item(options: BaseModel) -> list[Item]:
    """The whole measure as a single cell."""
    return [Item(None, options.model_dump(mode="json"), options)]


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure's declaration.

    `version` is part of every identity: raise it when the numbers change. `exclusive` measures
    (timings) never share the machine with another cell. Where `per_seed` is false the numbers
    are a matter of the architecture alone, and only the suite's smallest seed is measured.
    `forwards(options, test samples)` is about how many images one cell predicts, for the estimate
    of `plan`, and `seconds(options, seconds of one such image)` what it takes beside that. Metrics
    not declared in `metrics` are kept but have no column. `note(options)` is a sentence on how it
    was measured, for the leaderboard. `refusal(item's options, dataset)` says, before anything is
    trained, why it cannot be measured on that data set; empty if it can.
    """

    name: str
    run: Callable[[Context], Found | Mapping[str, float]]
    version: int = 1
    options: type[BaseModel] = NoOptions
    items: Callable[[Any], list[Item]] = one_item
    metrics: Mapping[str, MetricInfo] = field(default_factory=dict)
    exclusive: bool = False
    per_seed: bool = True
    forwards: Callable[[Any, int], float] = lambda options, test_samples: float(test_samples)
    seconds: Callable[[Any, float], float] = lambda options, image: 0.0
    note: Callable[[Any], str] = lambda options: ""
    refusal: Callable[[Any, Dataset], str] = lambda options, dataset: ""


def load(name: str) -> Measure:
    """Return the measure of that name, wrapping a plain function.

    Raises:
        BenchError: unknown, or it does not import, or it is no measure.
    """
    found = REGISTRY.load(name)
    if isinstance(found, Measure):
        return found
    if callable(found):
        return from_function(name.rpartition(":")[2], found)
    raise BenchError(f"measure '{name}' is neither a Measure nor a function")


def from_function(name: str, function: Callable[..., Found | Mapping[str, float]]) -> Measure:
    """A measure from `function(context, **options)`; its further parameters are the options."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    given: dict[str, Any] = {
        p.name: (Any, ... if p.default is p.empty else p.default)
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    model = create_model(f"{name} options", __base__=NoOptions, **given)

    def items(options: BaseModel) -> list[Item]:
        # Plain data, for a class made here cannot travel to a worker.
        return [Item(None, options.model_dump(mode="json"), options.model_dump())]

    def run(context: Context) -> Found | Mapping[str, float]:
        return function(context, **(context.options or {}))

    return Measure(name, run, options=model, items=items)
