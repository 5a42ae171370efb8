"""The child processes of one driver or cluster worker: kept for the next unit, ended together."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence

from bench.errors import BenchError, visible
from bench.run.processes.process import Child, ChildDied, DeviceSilent

_STARTS = 3


class Stopped(Exception):  # noqa: N818  (an event, not a mistake)
    """The run is being broken off: no process is to be had any more."""


class Fleet:
    """Hands out idle processes, or new ones; usable from several threads. Each is on one of the
    `gpus`, as few as possible on each, of those that work too; `sharing` is the environment of a
    service through which they use it together."""

    def __init__(self, gpus: Sequence[str] = (), sharing: Mapping[str, str] | None = None) -> None:
        self._gpus, self._sharing = gpus, sharing
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._lock = threading.Lock()
        self.stopped = False

    def take(self, fresh: bool = False, memory: int | None = None, own: bool = False) -> Child:
        """A process that is ready; a new one if `fresh`, or if what an idle one has kept from
        earlier units is more than half of `memory` bytes; with a GPU context of its `own`, not
        through the service, if asked for.

        Raises:
            Stopped: the fleet was stopped. BenchError: no process can be started, or no GPU
                answers.
        """
        while not fresh and (child := self._an_idle_one(own)) is not None:
            if memory is None or child.memory() <= memory / 2:
                return child
            self.discard(child)
        deaths = 0
        while deaths < _STARTS:
            with self._lock:
                child = Child(self._free_gpu(), None if own else self._sharing)
                self._busy.add(child)
            if self.stopped:
                self.discard(child)
                raise Stopped
            try:
                child.start_up()
                return child
            except DeviceSilent as silent:
                if child.shared:
                    self._do_without(child, str(silent))
                else:
                    self._leave_out(child, str(silent))
            except ChildDied:
                deaths += 1
                how = child.how_it_ended()
                self.discard(child)
        if self.stopped:
            raise Stopped
        raise BenchError(f"a worker process {how} before it could begin, {_STARTS} times")

    def _an_idle_one(self, own: bool) -> Child | None:
        with self._lock:
            if self.stopped:
                raise Stopped
            fits = [child for child in reversed(self._idle) if not (own and child.shared)]
            if not fits:
                return None
            working = [child.gpu for child in self._busy]
            # The one that was at work last, where it is all the same.
            child = min(fits, key=lambda one: working.count(one.gpu))
            self._idle.remove(child)
            self._busy.add(child)
            return child

    def _free_gpu(self) -> str | None:
        taken = [child.gpu for child in (*self._busy, *self._idle)]
        return min(self._gpus, key=taken.count, default=None)

    def _do_without(self, child: Child, said: str) -> None:
        """From now on no process asks the service, through which this one got no GPU."""
        self.discard(child)
        with self._lock:
            told, self._sharing = self._sharing is None, None
        if not told:
            text = f"note: workers take turns on the GPU, MPS does not work here ({said})"
            print(visible(text), file=sys.stderr, flush=True)

    def _leave_out(self, child: Child, said: str) -> None:
        """Start nothing more on a GPU that does not answer: each cell there would fail at once, and
        one after the other all that is left.

        Raises:
            BenchError: it was the last one.
        """
        self.discard(child)
        with self._lock:
            told = child.gpu not in self._gpus
            # The last one stays: without any, a process would see GPUs that were not chosen.
            rest = [gpu for gpu in self._gpus if gpu != child.gpu]
            self._gpus = rest or self._gpus
        if not rest:
            raise BenchError(
                f"no GPU answers any more (the last one: {said}); what was finished is kept: run "
                "the same command again when they do"
            )
        if not told:
            text = f"note: GPU {child.gpu} does not answer and is left out ({said})"
            print(visible(text), file=sys.stderr, flush=True)

    def give_back(self, child: Child) -> None:
        """Keep it for the next unit."""
        with self._lock:
            self._busy.discard(child)
            self._idle.append(child)

    def discard(self, child: Child) -> None:
        """End a process that was taken."""
        child.kill()
        with self._lock:
            self._busy.discard(child)

    def gpu_was_lost(self) -> None:
        """End idle processes that share it: they have lost it, too, and the service takes nobody
        new before they are gone."""
        with self._lock:
            lost = [child for child in self._idle if child.shared]
            self._idle = [child for child in self._idle if not child.shared]
        for child in lost:
            child.kill()

    def keep(self, count: int) -> None:
        """End idle processes beyond `count`."""
        with self._lock:
            beyond, self._idle = self._idle[count:], self._idle[:count]
        for child in beyond:
            child.kill()

    def part(self) -> None:
        """End idle processes, and give none to a service any more: what is timed now has its GPU
        for itself."""
        with self._lock:
            self._sharing = None
        self.keep(0)

    def stop(self) -> None:
        """End every process at once; those who wait for one of them are told `ChildDied`."""
        with self._lock:
            self.stopped = True
            for child in self._busy:
                child.end()
        self.keep(0)
