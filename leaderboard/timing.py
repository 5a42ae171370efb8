"""What a reader of timings must know: the machine was busy, or batches were not the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leaderboard.results import Results
from leaderboard.summary import Key, by_seed
from leaderboard.text import words

# Percent of a machine's processor time. Clocks, caches and memory are shared, so a timing beside
# others is of the moment; a desktop at rest, or a run's own monitor, stays below.
BUSY = 10.0
_MEASURE = "efficiency"
_NAMED = 6  # networks in one sentence


def timing_notes(results: Results, dataset: str) -> list[str]:
    """Sentences on the networks of a data set that were timed on a busy machine, and on those whose
    throughput is of smaller batches than that of the others in its column."""
    found = {
        key: seeds
        for key, seeds in by_seed(results.rows).items()
        if key.dataset == dataset and key.measure.partition("/")[0] == _MEASURE
    }
    worst: dict[str, dict[str, float]] = {"other_load": {}, "other_gpu_processes": {}}
    for key, values in found.items():
        if key.metric in worst:
            # The worst of all seeds and modes.
            known, name = worst[key.metric], f"{key.backbone} {key.variant}"
            known[name] = max([*values.values(), known.get(name, 0.0)])
    load = {name: f"{most:.0f} %" for name, most in worst["other_load"].items() if most > BUSY}
    gpu = {name: f"{most:.0f}" for name, most in worst["other_gpu_processes"].items() if most}
    notes = []
    if load:
        notes.append(
            f"Busy machine: other programs took more than {BUSY:g} % of the processors' time "
            f"while these were timed, so images/s and latency are of that moment: {_listed(load)}."
        )
    if gpu:
        notes.append(
            "Busy GPU: other programs had it in use while these were timed, so images/s and "
            f"latency are of that moment: {_listed(gpu)}."
        )
    return [*notes, *_smaller_batches(found)]


def _smaller_batches(found: Mapping[Key, Mapping[int, float]]) -> Iterator[str]:
    columns: dict[str, dict[str, float]] = {}
    for key, seeds in found.items():
        if key.metric == "batch_size":
            name = f"{key.backbone} {key.variant}"
            columns.setdefault(key.measure, {})[name] = min(seeds.values())
    for measure, batches in columns.items():
        most = max(batches.values())
        fewer = {name: f"{batch:.0f}" for name, batch in batches.items() if batch < most}
        if fewer:
            yield (
                f"{_column(measure)} are of batches of {most:.0f}, but where that did not fit into "
                f"memory: {_listed(fewer)}."
            )


def _listed(values: dict[str, str]) -> str:
    """`lenet_fc bu (12 %), lenet_fc td (34 %) and 3 more`."""
    named = [f"{name} ({value})" for name, value in values.items()]
    rest = len(named) - _NAMED
    return ", ".join(named[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _column(measure: str) -> str:
    mode = measure.partition("/")[2]
    return f"{words(mode)}: images/s" if mode else "Images/s"
