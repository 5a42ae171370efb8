"""How fast a network predicts, at which batches, and under what conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from bench.measures.cost import memory, sensors, timing
from bench.measures.cost.modes import runner
from bench.measures.cost.peaks import first_to_try, least
from bench.measures.cost.subject import Subject

LARGEST = "largest"
# Calls after which a latency has all its tails (1,000 for the 99th percentile).
_LATENCIES = timing.needed(0.99)


def speeds(subject: Subject, progress: Callable[[float], None]) -> dict[str, float]:
    """Throughput at every batch that was asked for, latency, energy, and what else went on."""
    options, watch = subject.options, _Stopwatch(subject)
    metrics: dict[str, float] = {}
    # As a whole, too: short timings each tell nothing of the load. A compiler's processes are not
    # told from those of others.
    with sensors.watching(subject.device) as whole, torch.no_grad():
        few = least(subject, subject.deployed)
        wish = max(options.batch_size, few)
        first = first_to_try(subject, subject.deployed, wish, memory.GIVEN)
        batch, seconds = timing.backing_off(first, watch.times, few)
        metrics |= _rate(seconds, batch)
        if watch.joules is not None:
            metrics["energy_per_image"] = watch.joules / (len(seconds) * batch)
        progress(0.5)
        # Such figures of a network that cannot do a single image are left out.
        if few == 1:
            metrics |= timing.latencies(watch.times(1, most=_LATENCIES, alone=True))
        for wanted in dict.fromkeys(options.batch_sizes):
            searched = wanted == LARGEST
            most = options.limit if searched else int(wanted)
            share = memory.SEARCHED if searched else memory.GIVEN
            first = first_to_try(subject, subject.deployed, most, share)
            if first < few:
                continue
            fitted, times = timing.backing_off(first, watch.times, few)
            metrics |= timing.suffixed(_rate(times, fitted), wanted)
            if searched:
                metrics["largest_batch"] = float(fitted)
    beside = {} if subject.mode.compile else whole.figures
    return {**metrics, **beside, **watch.figures}


class _Stopwatch:
    """Times the deployed network and watches the machine meanwhile.

    `figures` are those of :func:`bench.measures.cost.sensors.watching`, of all timings the worst
    load and the last clock; `joules` is the energy of the last timing.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.figures: dict[str, float] = {}
        self.joules: float | None = None

    def times(self, batch: int, most: int | None = None, alone: bool = False) -> list[float]:
        """Seconds of each of the passes of a batch, at most so many of them."""
        device, images = self._subject.device, self._subject.images(batch)
        # Compiled anew: of a second batch PyTorch makes slower code, for any size.
        forward = runner(self._subject.deployed, self._subject.mode, device)

        def once() -> None:
            forward(images)

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
