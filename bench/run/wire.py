"""How work and events cross process borders: small messages that name cells by their identity.

Only the two ends unpack a body. Who stands between (a supervisor, a worker of a cluster) reads the
kind and the identity, so that no plugin and no PyTorch is ever imported there. Both ends are
processes of one run, of one user, with the same code.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
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
from bench.store.outcome import Failed, Outcome

if TYPE_CHECKING:
    from bench.run.place import Place
    from bench.run.unit import Unit

Kind = Literal["started", "progress", "warning", "part", "done", "failed"]


class Message(NamedTuple):
    """An event as it travels: its cell's identity, the rest pickled, weights as safetensors."""

    kind: Kind
    identity: str
    body: bytes = b""
    weights: bytes = b""

    @property
    def ends(self) -> bool:
        """Whether the cell is over with this."""
        return self.kind in ("done", "failed")


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


def job(unit: Unit, place: Place, files: Mapping[str, bytes] | None = None) -> Job:
    """Pack a unit."""
    train = unit.train.identity if unit.train else None
    cells = tuple(cell.identity for cell in unit.cells)
    return Job(pickle.dumps((unit, place)), train, cells, files or {})


def message(event: Event) -> Message:
    """Pack an event."""
    identity = event.cell.identity
    if isinstance(event, CellStarted):
        return Message("started", identity)
    if isinstance(event, CellProgress):
        return Message("progress", identity, pickle.dumps((event.share, event.text)))
    if isinstance(event, CellWarning):
        return Message("warning", identity, pickle.dumps(event.text))
    if isinstance(event, CellPart):
        return Message("part", identity, pickle.dumps((event.name, dict(event.arrays))))
    outcome, weights = event.outcome, b""
    if outcome.weights is not None:
        from safetensors.torch import save

        weights = save({name: tensor.contiguous() for name, tensor in outcome.weights.items()})
        outcome = replace(outcome, weights=None)
    kind: Kind = "failed" if outcome.error else "done"
    return Message(kind, identity, pickle.dumps(outcome), weights)


def failure(identity: str, started: float, seconds: float, error: Failed) -> Message:
    """The message of a cell that could not tell of its own end."""
    return Message("failed", identity, pickle.dumps(Outcome(started, seconds, 0.0, error=error)))


def failures_of(cells: Iterable[str], started: float, training: Failed) -> list[Message]:
    """The messages of cells whose training failed."""
    error = Failed(training.kind, f"its training failed: {training.message}", "")
    return [failure(identity, started, 0.0, error) for identity in cells]


def event(found: Message, cell: Cell) -> Event:
    """Unpack a message about a cell."""
    if found.kind == "started":
        return CellStarted(cell)
    content: Any = pickle.loads(found.body)  # noqa: S301  (from a process of this run)
    if found.kind == "progress":
        return CellProgress(cell, *content)
    if found.kind == "warning":
        return CellWarning(cell, content)
    if found.kind == "part":
        return CellPart(cell, *content)
    if found.weights:
        from safetensors.torch import load

        content = replace(content, weights=load(found.weights))
    return CellFinished(cell, content)
