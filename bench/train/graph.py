"""A step captured once as a CUDA graph: small networks are bound by launches, a replay is one.

Random numbers stay right under replay: augmentation's are drawn outside and copied in, dropout's
come from the device's generator, whose offset each replay moves on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from bench.models.memory import is_out_of_memory
from bench.train.augment import Draws

# Real steps before the capture: lazy set-up (cuDNN's choices, momentum, filters) is then done.
WARM_UP = 3

Update = Callable[[Tensor, Draws], Tensor]


class GraphedStep:
    """Does steps of one batch size: some eagerly, then by replaying a graph of `update`.

    `note` says why it stays eager, if it does: the host waits within a step, or the capture
    failed. Batches of another size are always done eagerly.

    Args:
        batch_size: of the batches to replay.
        device: a CUDA device, the current one.
    """

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self.note = ""
        self._batch_size, self._device = batch_size, device
        self._steps = 0
        self._side = torch.cuda.Stream(device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._index: Tensor
        self._draws: Draws
        self._loss: Tensor

    @property
    def captured(self) -> bool:
        """Whether steps are replayed by now."""
        return self._graph is not None

    def __call__(self, update: Update, index: Tensor, draws: Draws) -> Tensor:
        """Train on one batch; return the loss, still on the device.

        Args:
            update: takes the numbers of the images and the draws, both on the device, trains, and
                returns the loss; the same at every call.
            index: numbers of the images, on the device.
            draws: on the device, of the same names and shapes for each batch of a size.
        """
        if self.note or len(index) != self._batch_size:
            return update(index, draws)
        if self._steps < WARM_UP:
            self._steps += 1
            return self._aside(update, index, draws, watched=self._steps == WARM_UP)
        if self._graph is None and not self._capture(update, index, draws):
            return update(index, draws)
        assert self._graph is not None  # noqa: S101
        self._index.copy_(index)
        for name, static in self._draws.items():
            static.copy_(draws[name])
        self._graph.replay()
        return self._loss.clone()

    def _aside(self, update: Update, index: Tensor, draws: Draws, watched: bool) -> Tensor:
        """A step on the side stream, as captures need; note it if the host waits meanwhile."""
        mode = torch.cuda.get_sync_debug_mode()
        self._side.wait_stream(torch.cuda.current_stream(self._device))
        with warnings.catch_warnings(record=watched) as caught, torch.cuda.stream(self._side):
            if watched:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
            try:
                loss = update(index, draws)
            finally:
                torch.cuda.set_sync_debug_mode(mode)
        torch.cuda.current_stream(self._device).wait_stream(self._side)
        if any("called a synchronizing" in str(warning.message) for warning in caught or ()):
            self.note = "no CUDA graph: the host waits for the device within a step"
        return loss

    def _capture(self, update: Update, index: Tensor, draws: Draws) -> bool:
        """Record a step, which does not run it; return whether that worked."""
        before = torch.cuda.current_stream(self._device)
        self._index = index.clone()
        self._draws = {name: drawn.clone() for name, drawn in draws.items()}
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._side):
                self._loss = update(self._index, self._draws)
        except Exception as error:  # a model may do anything that cannot be recorded
            torch.cuda.set_stream(before)  # a capture that fails does not put it back
            what = "memory" if is_out_of_memory(error) else str(error).partition("\n")[0]
            self.note = f"no CUDA graph: its capture failed ({what})"
            return False
        self._graph = graph
        return True
