"""Where units are done: threads that supervise processes here, or `bench.run.cluster` elsewhere.

An engine takes numbered jobs and puts what happens into `news`, in order for each job.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bench.plan.cell import Limits
from bench.run.devices import mps
from bench.run.devices.gpus import names
from bench.run.processes import wire
from bench.run.processes.fleet import Fleet, Stopped
from bench.run.processes.supervisor import supervise

if TYPE_CHECKING:
    from bench.run.place import Place
    from bench.run.unit import Unit


@dataclass(frozen=True, slots=True)
class Over:
    """A job is over; every message of it has been given. `lost`: the worker died under it, so
    some cells may be missing. `error`: what ended it and must end the run."""

    number: int
    lost: bool = False
    error: BaseException | None = None


News = tuple[int, wire.Message] | Over


class Engine(Protocol):
    """Does jobs side by side. `slots` of them at once (a cluster's number may change)."""

    news: queue.SimpleQueue[News]

    @property
    def slots(self) -> int: ...

    def submit(self, number: int, unit: Unit, place: Place, alone: bool) -> None:
        """Start a job, as soon as there is room; `alone` with all cores of its machine."""

    def rest(self) -> None:
        """Let go of what only many jobs at once need."""

    def close(self) -> None:
        """End everything at once."""


class LocalEngine:
    """Processes on this machine, each supervised by a thread.

    Args:
        workers: how many work at once.
        limits: of each cell.
        device: where they compute.
        gpus: several of its kind, over which they spread. Where there are more workers than GPUs,
            a service lets them compute side by side (`bench.run.devices.mps`).
    """

    def __init__(self, workers: int, limits: Limits, device: str, gpus: Sequence[int] = ()) -> None:
        self.news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self.slots = workers
        self._limits = limits
        self._service, chosen = _shared(workers, device, gpus)
        sharing = self._service.environment if self._service else None
        self._fleet = Fleet(chosen, sharing)
        # A process on one of several GPUs sees no other.
        self._place = {"device": "cuda"} if chosen else {}
        self._pool = ThreadPoolExecutor(workers, "supervisor")

    def submit(self, number: int, unit: Unit, place: Place, alone: bool) -> None:
        job = wire.job(unit, place)
        threads = 0 if alone else max(1, (os.cpu_count() or 1) // self.slots)
        future = self._pool.submit(self._do, number, job, threads)
        future.add_done_callback(lambda done: self.news.put(_over(number, done)))

    def _do(self, number: int, job: wire.Job, threads: int) -> None:
        supervise(
            job,
            self._fleet,
            self._limits,
            lambda message: self.news.put((number, message)),
            {"threads": threads, **self._place},
        )

    def rest(self) -> None:
        if self._service is None:
            self._fleet.keep(1)
            return
        self._fleet.part()
        self._service.close()
        self._service = None

    def close(self) -> None:
        self._fleet.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._service is not None:
            self._service.close()


def _shared(
    workers: int, device: str, gpus: Sequence[int]
) -> tuple[mps.Service | None, tuple[str, ...]]:
    """A service for GPUs with more than one worker each, if it can be had; and what processes have
    to find in `CUDA_VISIBLE_DEVICES` to see one of several GPUs, or the one of the service."""
    kind, _, number = device.partition(":")
    if kind == "cuda" and workers > max(1, len(gpus)):
        # By their UUIDs: a service counts GPUs among those that it sees.
        chosen = mps.shareable(gpus or [int(number or 0)])
        if service := mps.start(chosen):
            return service, chosen
    return None, names(gpus)


def _over(number: int, done: Future[None]) -> Over:
    if done.cancelled():
        return Over(number, lost=True)
    error = done.exception()
    return Over(number, lost=isinstance(error, Stopped), error=error)
