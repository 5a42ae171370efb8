"""What is asked of a network again and again, replayed on CUDA as graphs of a few batch sizes.

Searches ask thousands of times about ever fewer images. A small network takes the same time for
one image as for many, the time of launching its kernels; a replay is one launch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bench.models.graph import GraphedStep, Inputs, Room
from bench.models.settings import is_known_code

R = TypeVar("R", Tensor, tuple[Tensor, Tensor])
# Values in a batch of images beyond which kernels take longer than their launches.
MOST = 2**21
_ROUNDS = 3  # of either side, when the two are timed


class Replays:
    """Calls functions of a batch, by replays where those are faster.

    A batch is filled up to the next of some sizes, with images that are in it already; so a
    function may not mix its rows (networks in eval mode do not).

    Args:
        network: that the functions ask; its tensors stay where they are.
        most: images of the largest batch.
        device: where they are.
    """

    def __init__(self, network: nn.Module, most: int, device: torch.device) -> None:
        self._device = device
        # Code of others may do something else each time. Which side is faster is not the same
        # every time, so in deterministic mode nothing may depend on it.
        known = is_known_code(getattr(network, "backbone", network))
        repeatable = torch.are_deterministic_algorithms_enabled()
        self._tried = device.type == "cuda" and known and not repeatable
        # Down to one image, two sizes to a halving: at most a third of a batch is filling.
        halves = range(max(1, most).bit_length() + 1)
        sizes = {math.ceil(most * share / 2**half) for half in halves for share in (1.0, 0.75)}
        self._sizes = sorted(sizes)
        self._steps: dict[tuple[object, ...], GraphedStep[Any] | None] = {}
        self._room: Room | None = None

    def __call__(
        self, function: Callable[[Tensor, Inputs], R], name: str, images: Tensor, **more: Tensor
    ) -> R:
        """What `function(images, more)` gives: a tensor or two, a row for each image.

        Args:
            function: the same at every call with this name.
            name: tells functions apart.
            images: n x C x H x W on the device.
            more: further arguments of n rows.
        """
        if not self._tried:
            return function(images, more)
        count = len(images)
        size = next((size for size in self._sizes if size >= count), 0)
        key = (name, size, *images.shape[1:])
        if not count or not size or images.numel() > MOST:
            return function(images, more)
        if key not in self._steps:
            self._room = self._room or Room(self._device)
            self._steps[key] = GraphedStep(size, self._device, self._room)
        step = self._steps[key]
        if step is None:
            return function(images, more)
        full, rest = _filled(images, size), {k: _filled(x, size) for k, x in more.items()}
        was_captured = step.captured
        found: R = step(function, full, rest)
        if step.note or (
            step.captured
            and not was_captured
            and self._seconds(lambda: step(function, full, rest))
            >= self._seconds(lambda: function(images, more))
        ):
            self._steps[key] = None
        return _rows(found, count)

    def forget(self) -> None:
        """Let go of all graphs, and of the memory that they hold."""
        self._steps.clear()
        self._room = None

    def _seconds(self, call: Callable[[], object]) -> float:
        """The best of some rounds."""
        best = math.inf
        for _ in range(_ROUNDS):
            torch.cuda.synchronize(self._device)
            start = time.perf_counter()
            call()
            torch.cuda.synchronize(self._device)
            best = min(best, time.perf_counter() - start)
        return best


def _filled(rows: Tensor, size: int) -> Tensor:
    """Up to so many rows, by repetitions of the first one."""
    missing = size - len(rows)
    if not missing:
        return rows
    return torch.cat([rows, rows[:1].expand(missing, *rows.shape[1:])])


def _rows(found: R, count: int) -> R:
    if isinstance(found, Tensor):
        return found[:count]
    first, second = found
    return first[:count], second[:count]
