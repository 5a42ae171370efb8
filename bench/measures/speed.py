"""How fast a network predicts, at which batches, and under what conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from bench.measures import memory, sensors, timing
from bench.measures.modes import runner
from bench.measures.subject import Subject

LARGEST = "largest"
# Calls after which a latency has all its tails (1,000 for the 99th percentile).
_LATENCIES = timing.needed(0.99)
# Share of free main memory that a batch may take: beyond it Linux ends processes, without a word.
_SHARE = 0.5


def speeds(subject: Subject, progress: Callable[[float], None]) -> dict[str, float]:
    """Throughput at every batch that was asked for, latency, energy, and what else went on."""
    options, watch = subject.options, _Stopwatch(subject)
    metrics: dict[str, float] = {}
    with torch.no_grad():
        batch, seconds = timing.backing_off(options.batch_size, watch.times)
        metrics |= _rate(seconds, batch)
        if watch.joules is not None:
            metrics["energy_per_image"] = watch.joules / (len(seconds) * batch)
        progress(0.5)
        metrics |= timing.latencies(watch.times(1, most=_LATENCIES, alone=True))
        for wanted in options.batch_sizes:
            first = _first_guess(subject) if wanted == LARGEST else int(wanted)
            fitted, times = timing.backing_off(first, watch.times)
            metrics |= timing.suffixed(_rate(times, fitted), wanted)
            if wanted == LARGEST:
                metrics["largest_batch"] = float(fitted)
    return metrics | watch.figures


class _Stopwatch:
    """Times the deployed network and watches the machine meanwhile.

    `figures` are those of :func:`bench.measures.sensors.watching`, of all timings the worst load
    and the last clock; `joules` is the energy of the last timing.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._forward = runner(subject.deployed, subject.mode, subject.device)
        self.figures: dict[str, float] = {}
        self.joules: float | None = None

    def times(self, batch: int, most: int | None = None, alone: bool = False) -> list[float]:
        """Seconds of each of the passes of a batch, at most so many of them."""
        device, images = self._subject.device, self._subject.images(batch)

        def once() -> None:
            self._forward(images)

        timing.warm_up(once, device)
        with sensors.watching(device) as seen:
            wish = self._subject.options.seconds
            seconds = timing.durations(once, device, wish, most, alone)
        self.joules = seen.joules
        for name, value in seen.figures.items():
            worst = max(value, self.figures.get(name, 0.0))
            self.figures[name] = worst if name.startswith("other_") else value
        return seconds


def _rate(seconds: list[float], batch: int) -> Mapping[str, float]:
    median, spread = timing.rates(seconds, batch)
    return {
        "images_per_second": median,
        "images_per_second_iqr": spread,
        "batch_size": float(batch),
    }


def _first_guess(subject: Subject) -> int:
    """Where the search for the largest batch begins: where CUDA lacks memory it says so, but Linux
    ends the process, so what would take more than half of what is free is not tried there."""
    batch = subject.options.limit
    free = memory.available() if subject.device.type == "cpu" else None
    if free is None:
        return batch
    network = subject.deployed
    forward = runner(network, subject.mode, subject.device, eager=True)
    image = subject.images(1)
    weights = memory.weight_bytes(network)
    each = memory.tensor_peak(network, forward, image) - weights + image.nbytes
    while batch > 1 and weights + batch * each > _SHARE * free:
        batch //= 2
    return batch
