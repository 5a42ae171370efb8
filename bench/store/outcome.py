"""What comes out of a cell: numbers, arrays, weights, or the reason why not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from leaderboard.results import MetricInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

# The key of a training's facts for what was worth a note of it.
NOTES = "notes"
# ... and of a training and of what is measured of it, a hash over the network's weights.
NETWORK = "network"
# What a cell whose arrays cannot be read is told to lack.
WITHOUT_ARRAYS = (
    "is not in figures, nor in what pages compute image by image (curves, areas, intervals, paired "
    "differences), which lack this seed; its recorded numbers are still shown"
)


# How the reason begins why a cell was not even tried: what it needs had failed.
NO_TRAINING = "its training failed: "
NO_TUNING = "its tuning failed: "


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a cell failed: the error's class, its first line, and the traceback for the log."""

    kind: str
    message: str
    traceback: str

    @property
    def text(self) -> str:
        """The error on one line."""
        return error_text(self.kind, self.message)

    def passed_on(self) -> Failed:
        """Why a cell fails that needs the training which failed so."""
        return Failed(self.kind, f"{NO_TRAINING}{self.message}", "")


def error_text(kind: str, message: str) -> str:
    """What a person reads of an error: of ours the message, of others the class too."""
    return message if kind in _OURS else f"{kind}: {message}"


# By name, for they are read from a record; with the one of `arches`.
_OURS = (
    "BenchError",
    "DataError",
    "FaultError",
    "InversionError",
    "NotInvertibleError",
    "NotSquareError",
    "NothingToDrawError",
    "SuiteError",
    "TrainingDivergedError",
    "TrainingMemoryError",
    "UnknownNameError",
    "WeightsLostError",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one cell; `error` is None if it is done.

    `started` is seconds since the epoch (UTC), `seconds` and `cpu_seconds` what it took.
    `weights` are a training's tensors by name, on the CPU.
    """

    started: float
    seconds: float
    cpu_seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    infos: Mapping[str, MetricInfo] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    weights: Mapping[str, Tensor] | None = None
    error: Failed | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def network_of(facts: str) -> str | None:
    """The hash over the network's weights in the facts of a cell, as they are recorded; None in
    runs of earlier versions, and where the record is damaged."""
    if NETWORK not in facts:
        return None
    try:
        found = json.loads(facts).get(NETWORK)
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None
