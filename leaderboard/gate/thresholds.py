"""How much worse is a regression: defaults for each kind of number, and what users say instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from leaderboard.numbers.summary import ACCURACY, AREA, Key

# Of the gate as a whole. With 0.01, noise that is itself estimated makes it a little more than one
# false alarm on a hundred boards (tests/gate/test_simulation.py).
ALPHA = 0.005
_POINTS = {"clean": 0.3, "robust": 0.75}
_SHARES = {"counted": 0.01, "memory": 0.05, "speed": 0.03, "other": 0.01}
_CUDA_MEMORY = 0.01
_SPEEDS = ("images_per_second", "latency")


@dataclass(frozen=True, slots=True)
class Threshold:
    """What may be lost: `delta` in the metric's unit, or `relative` as a share (0.1 is 10 %).

    A loss beyond that and beyond chance is a regression. A pass takes that a loss of `margin`, in
    the same unit, is excluded: the same, unless it is said to be more, as few seeds need it to be.
    `reference` is a network (`dataset/backbone/variant`) of the same run whose value this one is
    divided by, so that speeds of different machines can be compared. `ignore` leaves it out.
    """

    delta: float | None = None
    relative: float | None = None
    margin: float | None = None
    reference: str | None = None
    ignore: bool = False


def kind(key: Key) -> str:
    """What a number is: "clean", "robust", "speed", "memory", "counted" or "other"."""
    if (key.measure, key.metric) == ACCURACY:
        return "clean"
    family = key.measure.partition("/")[0]
    if key.metric == AREA or family == "corruptions":
        return "robust"
    if family != "efficiency":
        return "other"
    if key.metric.startswith(_SPEEDS):
        return "speed"
    return "memory" if "memory" in key.metric else "counted"


def default(key: Key, unit: str, device: str) -> Threshold:
    """Where nobody says otherwise."""
    what = kind(key)
    if what in _POINTS:
        return Threshold(delta=_POINTS[what])
    if what == "other" and unit == "%":
        return Threshold(delta=_POINTS["robust"])
    if what == "memory" and device == "cuda":
        return Threshold(relative=_CUDA_MEMORY)
    return Threshold(relative=_SHARES[what])


def threshold(key: Key, unit: str, device: str, said: Mapping[str, Threshold]) -> Threshold:
    """The threshold of a number: the default, changed by every pattern that fits, in order.

    A pattern is a glob over `measure/metric`, or over `dataset/backbone/variant/measure/metric`.
    """
    found = default(key, unit, device)
    for pattern, mine in said.items():
        if fits(pattern, key):
            if mine.delta is not None:
                found = replace(found, delta=mine.delta, relative=None)
            if mine.relative is not None:
                found = replace(found, relative=mine.relative, delta=None)
            found = replace(
                found,
                margin=mine.margin or found.margin,
                reference=mine.reference or found.reference,
                ignore=mine.ignore,
            )
    return found


def fits(pattern: str, key: Key) -> bool:
    """Whether a pattern means this number."""
    name = f"{key.measure}/{key.metric}"
    return fnmatchcase(name, pattern) or fnmatchcase("/".join(key[:3]) + f"/{name}", pattern)


def unknown(said: Mapping[str, Threshold], keys: Iterable[Key]) -> str:
    """What is wrong with thresholds for a board that ranks by these numbers; empty if nothing."""
    board = [*keys]
    nets = {"/".join(key[:3]) for key in board}
    metrics = sorted({f"{key.measure}/{key.metric}" for key in board})
    for pattern, one in said.items():
        if not any(fits(pattern, key) for key in board):
            near = get_close_matches(pattern, metrics, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(metrics)}"
            return f"threshold '{pattern}' fits no number of the board; {hint}"
        if one.reference is not None and one.reference not in nets:
            known = ", ".join(sorted(nets)[:6])
            return f"threshold '{pattern}': no reference '{one.reference}'; known: {known}"
        if one.reference and not any(kind(key) == "speed" for key in board if fits(pattern, key)):
            return f"threshold '{pattern}': a reference divides speeds, and it fits none"
    return ""


def parse(raw: Any, where: str) -> dict[str, Threshold]:
    """Thresholds as a JSON file or a suite has them: a mapping of patterns to mappings.

    Raises:
        ValueError: not of that shape; the message starts with the place.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f"{where}: must be a mapping of metrics to thresholds")
    return {str(name): _threshold(value, f"{where}: {name}") for name, value in raw.items()}


def _threshold(raw: Any, where: str) -> Threshold:
    if not isinstance(raw, Mapping):
        raise ValueError(f'{where}: must be a mapping like {{"delta": 0.5}}')
    for key, value in raw.items():
        if key in ("delta", "relative", "margin"):
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"{where}: {key} must be a number above 0, not {value!r}")
        elif key == "reference":
            if not isinstance(value, str) or value.count("/") < 2:
                raise ValueError(f"{where}: reference must be dataset/backbone/variant")
        elif key == "ignore":
            if not isinstance(value, bool):
                raise ValueError(f"{where}: ignore must be true or false, not {value!r}")
        else:
            raise ValueError(
                f"{where}: unknown key '{key}'; known: delta, relative, margin, reference, ignore"
            )
    if raw.get("delta") is not None and raw.get("relative") is not None:
        raise ValueError(f"{where}: give delta or relative, not both")
    return Threshold(**dict(raw))
