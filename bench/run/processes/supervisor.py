"""Has a unit done in a child process and survives whatever becomes of that one.

A cell that crashes the interpreter, takes longer or needs more memory than the suite allows fails
alone: the process is ended with all that it started, and another goes on with the next cell, from
the weights that the training has sent.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.plan.cell import Limits
from bench.run.processes.fleet import Fleet, Stopped
from bench.run.processes.process import Child, ChildDied
from bench.run.processes.wire import LOST, OVER, Job, Message, Order, failure, failures_of
from bench.store.outcome import Failed
from bench.suite.units import size_text, time_text

Emit = Callable[[Message], None]

# How often limits are looked at, in seconds: memory can grow by gigabytes in one.
TICK = 0.1
# ... and whether the unit is still wanted.
LOOK = 1.0
# Whoever does not get to that for so long was stopped (Ctrl-Z) or slept with its machine.
STOPPED = 3.0
# Whoever ends a process with one of these is not the cell.
_FROM_OUTSIDE = ("SIGKILL", "SIGTERM")


class CellTimeout(Exception):  # noqa: N818  (named after what the row of a failed cell shows)
    """A cell took longer than the suite's `timeout`."""


class CellOutOfMemory(Exception):  # noqa: N818
    """A cell needed more than the suite's `memory`."""


class CellCrashed(Exception):  # noqa: N818
    """The process that a cell ran in died."""


def supervise(
    job: Job,
    fleet: Fleet,
    limits: Limits,
    emit: Emit,
    place: Mapping[str, Any] | None = None,
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Do a unit's cells, emitting what happens; every cell ends with a message, whatever happens.

    Args:
        job: the unit.
        fleet: where processes come from.
        limits: of each cell.
        emit: is called in this thread.
        place: fields of the unit's place that are otherwise here.
        wanted: whether anybody still waits for the unit; is asked every second at least.

    Raises:
        Stopped: the fleet was stopped, or the unit is not wanted any more.
        BenchError: no process can be started, or there is no room for temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="bench-unit-") as folder:
        _Supervision(job, fleet, limits, emit, dict(place or {}), Path(folder), wanted).run()


def _write(path: Path, content: bytes) -> None:
    """Write a temporary file: not where the run is, whose disk may have room.

    Raises:
        BenchError: it cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise BenchError(
            f"{tempfile.gettempdir()}: cannot be written: {error.strerror}; make room for "
            "temporary files there, or name another place with TMPDIR, and run the same command "
            "again: what was finished is kept"
        ) from None


class _Supervision:
    def __init__(
        self,
        job: Job,
        fleet: Fleet,
        limits: Limits,
        emit: Emit,
        place: dict[str, Any],
        folder: Path,
        wanted: Callable[[], bool],
    ) -> None:
        self._job, self._fleet, self._limits, self._emit = job, fleet, limits, emit
        self._place, self._folder, self._wanted = place, folder, wanted
        self._todo = list(job.identities)
        self._moved = self._written(job.files)
        self._weights: str | None = None
        self._deaths: dict[str, int] = {}
        self._own = False  # whether the rest of the unit is done apart from all others
        self._begin(None)

    def _written(self, files: Mapping[str, bytes]) -> dict[str, str]:
        """Write files that came along into the folder; return where each is now."""
        moved = {}
        for number, (name, content) in enumerate(files.items()):
            here = self._folder / f"{number}-{Path(name).name}"
            _write(here, content)
            moved[name] = str(here)
        return moved

    def _begin(self, identity: str | None) -> None:
        """A cell's clock starts: when it says so, or when the one before it has ended."""
        self._current = identity
        self._started, self._clock = time.time(), time.monotonic()

    def run(self) -> None:
        fresh = False
        while self._todo:
            child = self._fleet.take(fresh, self._limits.memory, self._own)
            used = child.used
            try:
                last = self._listen(child)
            except (ChildDied, CellTimeout, CellOutOfMemory) as reason:
                error = self._explained(reason, child)
                self._fleet.discard(child)
                if self._fleet.stopped:
                    raise Stopped from None
                fresh = True
                self._lost(error, used)
            except BaseException:
                self._fleet.discard(child)
                raise
            else:
                (self._fleet.give_back if last == OVER else self._fleet.discard)(child)

    def _listen(self, child: Child) -> Message:
        """Hear a process until it says that it is through with the unit, or of no more use."""
        order = Order(self._job.unit, tuple(self._todo), self._weights, self._place, self._moved)
        self._begin(None)
        child.send(order)
        looked = time.monotonic()
        failed: list[Message] = []
        while True:
            found = child.receive(TICK if self._limits else LOOK)
            now = time.monotonic()
            if now - looked > STOPPED:
                # What the cell told meanwhile was not heard: that time is not held against it.
                self._clock += now - looked
            if found == LOST and child.shared:
                # A kernel that breaks takes the GPU from all that share it, and nobody says whose
                # it was: what failed here just now is done again, apart from the others.
                self._own = True
                self._fleet.gpu_was_lost()
                return found
            if found is not None and found.kind == "failed" and child.shared:
                failed.append(found)
            elif found is not None:
                while failed:
                    self._heard(failed.pop(0), child)
                if found in (OVER, LOST):
                    break
                self._heard(found, child)
            if time.monotonic() - looked >= TICK:
                self._check(child)
                looked = time.monotonic()
        if self._todo and found == OVER:
            raise BenchError("a worker process left cells out")
        return found

    def _heard(self, found: Message, child: Child) -> None:
        if found.kind == "started":
            self._begin(found.identity)
        if found.ends:
            self._todo.remove(found.identity)
            child.used = True
            self._begin(None)
            if found.weights:
                path = self._folder / "trained.safetensors"
                _write(path, found.weights)
                self._weights = str(path)
        self._emit(found)

    def _check(self, child: Child) -> None:
        if not self._wanted():
            raise Stopped
        limits, spent = self._limits, time.monotonic() - self._clock
        if limits.seconds is not None and spent > limits.seconds:
            raise CellTimeout(f"took over {time_text(limits.seconds)} (the suite's `timeout`)")
        if limits.memory is not None and (taken := child.memory()) > limits.memory:
            allowed = size_text(limits.memory)
            raise CellOutOfMemory(f"took {size_text(taken)}, over {allowed} (the suite's `memory`)")

    def _explained(self, reason: Exception, child: Child) -> Failed:
        """Why the cell failed, with the stacks that the process left."""
        if isinstance(reason, ChildDied):
            how = child.how_it_ended()
            if how.endswith("SIGKILL"):
                how += " (perhaps the system ran out of memory)"
            return Failed(CellCrashed.__name__, f"its process {how}", child.log())
        return Failed(type(reason).__name__, str(reason), child.where())

    def _lost(self, error: Failed, used: bool) -> None:
        """The cell at work has failed; unless its process died of something else."""
        if not self._todo:
            return  # it died when all was done
        cell = self._current or self._todo[0]
        self._deaths[cell] = self._deaths.get(cell, 0) + 1
        outside = any(name in error.message for name in _FROM_OUTSIDE)
        # Earlier cells may have broken the process, or filled its memory; a hang they seldom cause.
        doubtful = outside or (used and error.kind != CellTimeout.__name__)
        if doubtful and self._deaths[cell] == 1:
            return
        seconds = time.monotonic() - self._clock
        self._todo.remove(cell)
        self._emit(failure(cell, self._started, seconds, error))
        if cell == self._job.train:
            for message in failures_of(self._todo, time.time(), error):
                self._emit(message)
            self._todo.clear()
