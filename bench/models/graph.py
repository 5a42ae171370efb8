"""A computation captured once as a CUDA graph: small networks are bound by launches, a replay is
one.

Random numbers stay right under replay: augmentation's are drawn outside and copied in, dropout's
come from the device's generator, whose offset each replay moves on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import torch
from torch import Tensor

from bench.models.memory import is_out_of_memory

# Real steps before the capture: lazy set-up (cuDNN's choices, momentum, filters) is then done.
WARM_UP = 3

# What comes out: a tensor, or two.
R = TypeVar("R", Tensor, tuple[Tensor, Tensor])
Inputs = Mapping[str, Tensor]
Update = Callable[[Tensor, Inputs], R]


class Room:
    """Where graphs are captured that are replayed one at a time: on one stream, for libraries keep
    memory for each that they meet, and in one pool of memory, as large as the largest of them.

    All of them live as long as the room. With the first that went, PyTorch (2.14) would free what
    matrix products work in on its stream, and replays of the others write there.

    Args:
        device: a CUDA device, the current one.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()
        self._graphs: list[torch.cuda.CUDAGraph] = []

    def keep(self, graph: torch.cuda.CUDAGraph) -> None:
        """Hold a graph that was captured here, also when nobody replays it any more."""
        self._graphs.append(graph)

    def renew(self, failed: torch.cuda.CUDAGraph) -> None:
        """Begin another pool: one that a capture has failed in may take no more."""
        self.pool = torch.cuda.graph_pool_handle()
        if self._graphs:  # else it goes, and gives its memory back
            self.keep(failed)


class GraphedStep(Generic[R]):
    """Does steps of one batch size: some eagerly, then by replaying a graph of `update`.

    `note` says why it stays eager, if it does: the host waits within a step, or the capture
    failed. Batches of another size are always done eagerly.

    Args:
        batch_size: of the batches to replay.
        device: a CUDA device, the current one.
        room: of several graphs; None: its own.
    """

    def __init__(self, batch_size: int, device: torch.device, room: Room | None = None) -> None:
        self.note = ""
        self._batch_size, self._device = batch_size, device
        self._steps = 0
        self._room = room or Room(device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: Tensor
        self._more: Inputs
        self._found: R

    @property
    def captured(self) -> bool:
        """Whether steps are replayed by now."""
        return self._graph is not None

    def __call__(self, update: Update[R], batch: Tensor, more: Inputs) -> R:
        """Do one batch; return what comes out, still on the device.

        Args:
            update: takes the batch and the rest, both on the device; the same at every call.
            batch: on the device, one row for each image (its number, or itself).
            more: on the device, of the same names and shapes for each batch of a size.
        """
        if self.note or len(batch) != self._batch_size:
            return update(batch, more)
        if self._steps < WARM_UP:
            self._steps += 1
            return self._aside(update, batch, more, watched=self._steps == WARM_UP)
        if self._graph is None and not self._capture(update, batch, more):
            return update(batch, more)
        assert self._graph is not None  # noqa: S101
        self._batch.copy_(batch)
        for name, static in self._more.items():
            static.copy_(more[name])
        self._graph.replay()
        # The next replay, of this graph or another in the room, overwrites them.
        if isinstance(self._found, Tensor):
            return self._found.clone()
        first, second = self._found
        return first.clone(), second.clone()

    def _aside(self, update: Update[R], batch: Tensor, more: Inputs, watched: bool) -> R:
        """A step on the side stream, as captures need; note it if the host waits meanwhile."""
        mode, side = torch.cuda.get_sync_debug_mode(), self._room.stream
        side.wait_stream(torch.cuda.current_stream(self._device))
        with warnings.catch_warnings(record=watched) as caught, torch.cuda.stream(side):
            if watched:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
            try:
                found = update(batch, more)
            finally:
                torch.cuda.set_sync_debug_mode(mode)
        torch.cuda.current_stream(self._device).wait_stream(side)
        if any("called a synchronizing" in str(warning.message) for warning in caught or ()):
            self.note = "no CUDA graph: the host waits for the device within a step"
        return found

    def _capture(self, update: Update[R], batch: Tensor, more: Inputs) -> bool:
        """Record a step, which does not run it; return whether that worked."""
        before = torch.cuda.current_stream(self._device)
        with torch.inference_mode(False):  # what is made in it takes nothing outside of it
            self._batch = batch.detach().clone()
            self._more = {name: given.detach().clone() for name, given in more.items()}
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._room.pool, stream=self._room.stream):
                self._found = update(self._batch, self._more)
        except Exception as error:  # a model may do anything that cannot be recorded
            torch.cuda.set_stream(before)  # a capture that fails does not put it back
            self._room.renew(graph)
            what = "memory" if is_out_of_memory(error) else str(error).partition("\n")[0]
            self.note = f"no CUDA graph: its capture failed ({what})"
            return False
        self._graph = graph
        self._room.keep(graph)
        return True
