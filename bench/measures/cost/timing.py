"""Timing on any device: warm-up, repeats, medians and spread, quantiles that can be trusted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch

from bench.errors import BenchError
from bench.models.algorithms import algorithms
from bench.models.cudnn import convolutions

Found = TypeVar("Found")
Action = Callable[[], object]

# Calls before anything is timed: allocators, caches and clocks settle. On CUDA cuDNN tries out its
# algorithms in the first call.
_WARM_UP = {"cpu": 3, "cuda": 10}
# Fewer repeats give no median and no spread worth the name.
_LEAST = 5
# Batches that CUDA gets in one go, so that starting the next one costs nothing.
_QUEUE = 8


def needed(quantile: float) -> int:
    """Samples that a quantile needs: as many that ten of them lie beyond it, ceil(10 / (1 - q)).

    20 for the median, 200 for the 95th percentile, 1,000 for the 99th. MLPerf asks for as much in
    spirit: a tail latency from few samples is the slowest of them, a matter of luck.
    """
    return math.ceil(round(10 / (1 - quantile), 6))


def latencies(seconds: Sequence[float], tails: Sequence[float] = (0.95, 0.99)) -> dict[str, float]:
    """Median, interquartile range, and the tails for which there are samples enough.

    Args:
        seconds: of each call.
        tails: quantiles.

    Returns:
        `latency`, `latency_iqr`, `latency_p95` ... in milliseconds, and `latency_samples`.
    """
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    found = {"latency": 1e3 * middle, "latency_iqr": 1e3 * (high - low)}
    for tail in tails:
        if len(seconds) >= needed(tail):
            found[f"latency_p{100 * tail:.0f}"] = 1e3 * float(np.quantile(seconds, tail))
    found["latency_samples"] = float(len(seconds))
    return {name: float(value) for name, value in found.items()}


def rates(seconds: Sequence[float], images: int) -> tuple[float, float]:
    """Images per second of calls with so many images: median and interquartile range."""
    low, middle, high = np.quantile([images / second for second in seconds], [0.25, 0.5, 0.75])
    return float(middle), float(high - low)


def warm_up(action: Action, device: torch.device) -> None:
    """Call `action` until allocators and caches have what they need."""
    for _ in range(_WARM_UP.get(device.type, 3)):
        action()
    wait_for(device)


def durations(
    action: Action,
    device: torch.device,
    seconds: float,
    most: int | None = None,
    alone: bool = False,
) -> list[float]:
    """Seconds of each call of `action`, called for about `seconds`.

    On CUDA the times are between events on the device; calls are queued behind each other, as in a
    stream of batches, or, with `alone`, each is waited for before the next one begins.

    Args:
        action: starts the work; need not wait for it.
        device: where the work is done.
        seconds: to go on; at least five calls are made.
        most: calls.
        alone: whether the time of a single call is asked for.
    """
    queue = 1 if alone or device.type != "cuda" else _QUEUE
    found: list[float] = []
    start = time.perf_counter()
    while most is None or len(found) < most:
        if len(found) >= _LEAST and time.perf_counter() - start >= seconds:
            break
        found += _timed(action, device, queue)
    return found


def _timed(action: Action, device: torch.device, count: int) -> list[float]:
    if device.type != "cuda":
        start = time.perf_counter()
        action()
        return [time.perf_counter() - start]
    with torch.cuda.device(device):
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
        marks[0].record()
        for mark in marks[1:]:
            action()
            mark.record()
        marks[-1].synchronize()
    # Events are in milliseconds.
    return [a.elapsed_time(b) / 1e3 for a, b in pairwise(marks)]


def wait_for(device: torch.device) -> None:
    """Wait until a device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def backing_off(batch: int, attempt: Callable[[int], Found], least: int = 1) -> tuple[int, Found]:
    """What `attempt(batch)` gives, with half the batch each time that memory runs out.

    Args:
        batch: to begin with.
        attempt: to do something with a batch.
        least: number of images; some networks cannot do a single one.

    Returns:
        The batch that fitted, and what came out.

    Raises:
        BenchError: not even so many images fit.
    """
    from bench.models.memory import is_out_of_memory, release

    while True:
        try:
            return batch, attempt(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside of the handler, where the error no longer holds the tensors of its frames.
        release()
        if batch <= least:
            images = "one image fits" if least == 1 else f"{least} images fit"
            raise BenchError(f"not even {images} into the device's memory")
        batch = max(batch // 2, least)


@contextmanager
def fastest() -> Iterator[None]:
    """PyTorch's switches as for prediction in production, whatever the recipe trained with:
    algorithms need not be deterministic, convolutions may use TF32, which is PyTorch's default, and
    cuDNN may try out which algorithm is fastest."""
    with algorithms(deterministic=False), convolutions(tf32=True, search=True):
        yield


def suffixed(figures: Mapping[str, float], name: object) -> dict[str, float]:
    """The figures under `figure[name]`."""
    return {f"{figure}[{name}]": value for figure, value in figures.items()}
