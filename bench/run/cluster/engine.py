"""The engine of a dask cluster: units become tasks, and messages come back through one queue.

The driver alone writes results. Workers need no disk in common with it: weights and finished parts
travel with the units and with the messages.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
import time
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.plan.cell import Limits
from bench.run.cluster import worker as inside
from bench.run.engine import News, Over
from bench.run.processes import wire

if TYPE_CHECKING:
    from distributed import Client

    from bench.run.place import Place
    from bench.run.unit import Unit

LOG = logging.getLogger(__name__)

# Seconds between looks at who is there, and without any worker until that is said.
LOOK, QUIETLY = 2.0, 15.0
# Seconds for which the reader waits for a message at a time.
WAIT = 60


class ClusterEngine:
    """Tasks on the workers of a cluster; on GPUs only where the resource `GPU` is free."""

    def __init__(
        self,
        client: Client,
        limits: Limits,
        gpu: bool,
        own_data: bool,
        plugins: Iterable[str],
    ) -> None:
        from distributed import Queue

        self.news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._client, self._limits, self._own_data = client, limits, own_data
        self._gpu = gpu
        self._code = inside.versions(plugins)
        self._name = f"bench-{uuid.uuid4().hex}"
        self._queue = Queue(self._name, client=client)
        self._tasks: dict[int, Any] = {}
        self._closed = False
        self._slots, self._looked, self._alone_since = 1, float("-inf"), 0.0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def slots(self) -> int:
        """Threads of all workers, or workers with a GPU; they may come and go."""
        if time.monotonic() - self._looked < LOOK:
            return self._slots
        threads = self._client.nthreads()
        self._looked = now = time.monotonic()
        self._slots = max(1, len(threads) if self._gpu else sum(threads.values()))
        if threads:
            self._alone_since = 0.0
        elif not self._alone_since:
            self._alone_since = now
        elif now - self._alone_since > QUIETLY:
            print("no worker is left; waiting for one", file=sys.stderr, flush=True)
            self._alone_since = now + 3600
        return self._slots

    def submit(self, number: int, unit: Unit, place: Place, alone: bool) -> None:
        key = f"{self._name}-{number}"
        # Threads are what the worker's environment says (dask sets OMP_NUM_THREADS=1).
        where = {"data_root": None} if self._own_data else {}
        task = inside.Assignment(
            key,
            number,
            self._name,
            wire.job(unit, place, _files(unit)),
            self._limits,
            where,
            self._code,
        )
        packed: Any = task.pack()
        if len(packed) > inside.LARGE:
            # Weights lie on a worker, not with the scheduler; if it dies, the task is lost.
            with contextlib.suppress(TimeoutError):  # nobody is there now
                packed = self._client.scatter(packed, hash=False)
        future = self._client.submit(
            inside.work,
            packed,
            key=key,
            pure=False,
            resources={"GPU": 1} if self._gpu else None,
        )
        self._tasks[number] = future
        future.add_done_callback(lambda done: self._ended(number, done))

    def _ended(self, number: int, future: Any) -> None:
        """A task that ends well has said so through the queue, after its last message."""
        from distributed import KilledWorker

        if future.status == "finished":
            return
        error = None if future.cancelled() else future.exception()
        lost = error is None or isinstance(error, KilledWorker | inside.WorkerDied)
        self.news.put(Over(number, lost=lost, error=error))

    def _read(self) -> None:
        """In a thread: pass on what comes through the queue."""
        from distributed import Future

        while not self._closed:
            try:
                # The scheduler logs every wait that ends with nothing: let there be few.
                found = self._queue.get(timeout=WAIT)
            except TimeoutError:
                continue
            except Exception as error:
                if not self._closed:
                    text = f"the scheduler is gone ({type(error).__name__}: {error})"
                    lost = BenchError(f"{text}; what was finished is kept: run the command again")
                    self.news.put(Over(0, error=lost))
                return
            if self._closed:
                return
            if isinstance(found, Future):
                try:
                    found = found.result(timeout=600)
                except Exception as error:  # its worker died: the task is lost too
                    LOG.debug("a message was lost: %s", error)
                    continue
            number, *message = found
            if message:
                self.news.put((number, wire.Message(*message)))
            else:
                self._tasks.pop(number, None)
                self.news.put(Over(number))

    def rest(self) -> None:
        self._everywhere(1)

    def close(self) -> None:
        self._closed = True
        try:
            self._client.cancel(list(self._tasks.values()), force=True)
            self._everywhere(0)
            self._queue.put([])  # wakes the reader
            self._reader.join(5)
            self._queue.close()
        except Exception as error:  # the scheduler is gone: there is nothing to tidy up
            LOG.debug("closing: %s", error)

    def _everywhere(self, count: int) -> None:
        self._client.run(inside.rest, count, on_error="ignore")


def _files(unit: Unit) -> dict[str, bytes]:
    """The contents of the files that a unit names: weights, and finished parts of its cells."""
    paths = [path for files in unit.parts.values() for path in files.values()]
    if unit.trained is not None:
        paths.append(unit.trained)
    return {str(path): path.read_bytes() for path in paths if path.is_file()}
