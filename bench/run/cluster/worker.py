"""What runs inside a worker of a dask cluster: it supervises a unit and sends what happens.

Neither PyTorch nor any plugin is imported here, only in the child processes.
"""

from __future__ import annotations

import platform
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from bench import identity
from bench.errors import BenchError
from bench.plan.cell import Limits
from bench.run.processes import wire
from bench.run.processes.fleet import Fleet
from bench.run.processes.plain import framed, unframed
from bench.run.processes.supervisor import supervise

if TYPE_CHECKING:
    from distributed import Worker

# Messages beyond this size do not pass through the scheduler: it only hears where they lie.
LARGE = 64 * 1024
# Seconds between two messages on a cell's progress.
SELDOM = 2.0


class WorkerDied(Exception):  # noqa: N818  (an event, not a mistake)
    """A unit was begun on a worker that is gone; what is left of it is the driver's to say."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A job for a cluster worker: its name among the tasks, where messages go, and how it is done.

    `code` is what versions must be (`versions`).
    """

    key: str
    number: int
    queue: str
    job: wire.Job
    limits: Limits
    place: Mapping[str, Any]
    code: Mapping[str, str]

    def pack(self) -> bytes:
        """For the scheduler, which is not to look into it."""
        job, limits = self.job, self.limits
        head = {
            "task": [self.key, self.number, self.queue],
            "job": [job.train, job.cells, list(job.files)],
            "limits": [limits.seconds, limits.memory],
            "place": self.place,
            "code": self.code,
        }
        return framed(head, [job.unit, *job.files.values()])

    @classmethod
    def unpack(cls, data: bytes) -> Assignment:
        """What `pack` gave."""
        head, (unit, *contents) = unframed(data)
        train, cells, names = head["job"]
        job = wire.Job(unit, train, cells, dict(zip(names, contents, strict=True)))
        key, number, queue = head["task"]
        limits = Limits(*head["limits"])
        return cls(key, number, queue, job, limits, head["place"], head["code"])


def versions(plugins: Iterable[str] = ()) -> dict[str, str]:
    """What must be the same on the driver and all workers: Python, PyTorch, numpy, and the code of
    the harness and of the given plugins (`module:attribute`)."""
    found = {"python": platform.python_version(), "bench": identity.own_code()}
    for package in ("torch", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    for target in plugins:
        try:
            found[target] = identity.code_fingerprint(target)
        except BenchError:
            found[target] = "not there"
    return found


def describe(plugins: tuple[str, ...], dask_worker: Worker) -> dict[str, Any]:
    """A worker as the driver wants to know it: `versions`, host, hardware, GPUs; `Client.run`
    fills in the worker."""
    from bench.store.provenance import hardware

    return {
        "versions": versions(plugins),
        "host": socket.gethostname(),
        "hardware": hardware("cpu"),
        "gpus": dask_worker.state.total_resources.get("GPU", 0),
    }


def differences(mine: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """`torch 2.14.0 here, 2.12.0 there; ...`, or nothing."""
    return "; ".join(
        f"{name} {value} here, {theirs.get(name, 'unknown')} there"
        for name, value in mine.items()
        if theirs.get(name) != value
    )


_fleet = Fleet()


def rest(count: int) -> None:
    """End idle processes of this worker beyond `count`."""
    _fleet.keep(count)


def work(packed: bytes) -> None:
    """Do a job, a packed `Assignment`, in this worker.

    Packed, for the scheduler unpacks what tasks are made of.

    Raises:
        WorkerDied: the job was begun elsewhere already. BenchError: this worker has other code.
    """
    from distributed import Queue, get_client, get_worker

    worker, client = get_worker(), get_client()
    task = Assignment.unpack(packed)
    wrong = differences(task.code, versions(set(task.code) - {"python", "bench", "torch", "numpy"}))
    if wrong:
        raise BenchError(f"worker {worker.address} has other code than the driver: {wrong}")
    _begin_once(client, task)

    def wanted() -> bool:
        state = worker.state.tasks.get(task.key)
        return state is not None and state.state in ("executing", "long-running")

    queue = Queue(task.queue, client=client)
    try:
        sender = _Sender(queue, client, task.number)
        supervise(task.job, _fleet, task.limits, sender.send, task.place, wanted)
        queue.put([task.number])
    finally:
        queue.close()


def _begin_once(client: Any, task: Assignment) -> None:
    """The scheduler gives the task of a dead worker to another one as it was; but the driver, who
    has recorded a part of it, knows what is left."""
    mark = [task.queue, str(task.number)]
    if client.get_metadata(mark, default=False):
        raise WorkerDied
    client.set_metadata(mark, True)


class _Sender:
    """Sends messages in order: small ones by way of the scheduler, large ones straight."""

    def __init__(self, queue: Any, client: Any, number: int) -> None:
        self._queue, self._client, self._number = queue, client, number
        self._progress = 0.0

    def send(self, message: wire.Message) -> None:
        if message.kind == "progress":
            if time.monotonic() - self._progress < SELDOM:
                return
            self._progress = time.monotonic()
        packed = [self._number, *message]
        if message.size > LARGE:
            packed = self._client.scatter({"message": packed}, direct=True, hash=False)["message"]
        self._queue.put(packed)
