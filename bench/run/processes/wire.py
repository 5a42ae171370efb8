"""How work and events cross process borders: small messages that name cells by their identity.

Only the two ends unpack a body. Who stands between (a supervisor, a worker of a cluster) reads the
kind and the identity, so that no plugin and no PyTorch is ever imported there. All of it is plain
data and safetensors: to read a message runs no code that came with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bench.plan.cell import Cell
from bench.run.events import (
    CellFinished,
    CellPart,
    CellProgress,
    CellStarted,
    CellWarning,
    Event,
)
from bench.run.processes.plain import framed, unframed
from bench.store.outcome import Failed, Outcome
from leaderboard.results import MetricInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.run.place import Place
    from bench.run.unit import Unit

Kind = Literal[
    "started", "progress", "warning", "part", "done", "failed", "ready", "dead", "over", "lost"
]


class Message(NamedTuple):
    """An event as it travels: its cell's identity, the rest as plain data, arrays and weights as
    safetensors."""

    kind: Kind
    identity: str = ""
    body: bytes = b""
    arrays: bytes = b""
    weights: bytes = b""

    @property
    def ends(self) -> bool:
        """Whether the cell is over with this."""
        return self.kind in ("done", "failed")

    @property
    def size(self) -> int:
        """Bytes of what is in it."""
        return len(self.body) + len(self.arrays) + len(self.weights)

    def pack(self) -> bytes:
        """For a pipe."""
        return framed([self.kind, self.identity], [self.body, self.arrays, self.weights])

    @classmethod
    def unpack(cls, data: bytes) -> Message:
        """What `pack` gave."""
        (kind, identity), blobs = unframed(data)
        return cls(kind, identity, *blobs)


# From a child process, beside what it tells of cells. LOST: it can do no more of the unit, but
# another process can.
READY, OVER, LOST = Message("ready"), Message("over"), Message("lost")


@dataclass(frozen=True, slots=True)
class Job:
    """A unit as it travels: `unit` is packed, with its place; `train` and `cells` are identities.

    `files` are contents of files that the unit names, by path: for a machine without this disk.
    """

    unit: bytes
    train: str | None
    cells: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def identities(self) -> tuple[str, ...]:
        """All cells in the order they are done in."""
        return (*((self.train,) if self.train else ()), *self.cells)


class Order(NamedTuple):
    """What a child process is to do: the cells of a packed unit with these identities.

    `weights` is a file to load instead of training or the unit's own; `place` overrides fields of
    the unit's place (a `data_root` of None: where that machine keeps its data sets); `moved` says
    where files that the unit names are instead.
    """

    unit: bytes
    todo: tuple[str, ...]
    weights: str | None
    place: Mapping[str, Any]
    moved: Mapping[str, str]

    def pack(self) -> bytes:
        """For a pipe."""
        return framed([self.todo, self.weights, self.place, self.moved], [self.unit])

    @classmethod
    def unpack(cls, data: bytes) -> Order:
        """What `pack` gave."""
        head, (unit,) = unframed(data)
        return cls(unit, *head)


def job(unit: Unit, place: Place, files: Mapping[str, bytes] | None = None) -> Job:
    """Pack a unit.

    Raises:
        BenchError: an option is no plain data.
    """
    from bench.run.processes.packed import pack

    train = unit.train.identity if unit.train else None
    cells = tuple(cell.identity for cell in unit.cells)
    return Job(pack(unit, place), train, cells, files or {})


def message(event: Event) -> Message:
    """Pack an event."""
    identity = event.cell.identity
    match event:
        case CellStarted():
            return Message("started", identity)
        case CellProgress(_, share, text):
            return Message("progress", identity, framed([share, text]))
        case CellWarning(_, text):
            return Message("warning", identity, framed(text))
        case CellPart(_, name, arrays):
            return Message("part", identity, framed(name), _packed(arrays))
        case CellFinished(_, outcome):
            return _finished(identity, outcome)


def _finished(identity: str, outcome: Outcome) -> Message:
    weights = b""
    try:
        arrays = _packed(outcome.arrays)
        if outcome.weights is not None:
            from safetensors.torch import save

            weights = save({name: t.contiguous() for name, t in outcome.weights.items()})
    except Exception as reason:  # whatever a plugin calls an array
        text = f"what it found cannot be kept: {reason}"
        error = Failed(type(reason).__name__, (text.splitlines() or [""])[0], "")
        return failure(identity, outcome.started, outcome.seconds, error)
    kind: Kind = "failed" if outcome.error else "done"
    return Message(kind, identity, _body(outcome), arrays, weights)


def _body(outcome: Outcome) -> bytes:
    error = outcome.error
    return framed(
        {
            "times": [outcome.started, outcome.seconds, outcome.cpu_seconds],
            "metrics": outcome.metrics,
            "infos": {name: asdict(info) for name, info in outcome.infos.items()},
            "error": None if error is None else [error.kind, error.message, error.traceback],
            "facts": outcome.facts,
        }
    )


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """As the store writes them."""
    if not arrays:
        return b""
    import numpy as np
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def failure(identity: str, started: float, seconds: float, error: Failed) -> Message:
    """The message of a cell that could not tell of its own end."""
    return Message("failed", identity, _body(Outcome(started, seconds, 0.0, error=error)))


def failures_of(cells: Iterable[str], started: float, training: Failed) -> list[Message]:
    """The messages of cells whose training failed."""
    return [failure(identity, started, 0.0, training.passed_on()) for identity in cells]


def event(found: Message, cell: Cell) -> Event:
    """Unpack a message about a cell.

    Raises:
        BenchError: it cannot be read.
    """
    if found.kind == "started":
        return CellStarted(cell)
    content, _ = unframed(found.body)
    if found.kind == "progress":
        return CellProgress(cell, *content)
    if found.kind == "warning":
        return CellWarning(cell, content)
    if found.kind == "part":
        return CellPart(cell, content, _unpacked(found.arrays))
    return CellFinished(cell, _outcome(content, found))


def _outcome(content: Mapping[str, Any], found: Message) -> Outcome:
    weights = None
    if found.weights:
        from safetensors.torch import load

        weights = load(found.weights)
    started, seconds, cpu_seconds = content["times"]
    return Outcome(
        started,
        seconds,
        cpu_seconds,
        metrics=content["metrics"],
        infos={name: MetricInfo(**info) for name, info in content["infos"].items()},
        arrays=_unpacked(found.arrays),
        weights=weights,
        error=None if content["error"] is None else Failed(*content["error"]),
        facts=content["facts"],
    )


def _unpacked(data: bytes) -> dict[str, NDArray[Any]]:
    if not data:
        return {}
    from safetensors.numpy import load

    found: dict[str, NDArray[Any]] = load(data)
    return found
