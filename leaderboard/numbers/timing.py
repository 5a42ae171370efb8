"""What a reader of timings must know: the machine was busy, or not the same one for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leaderboard.numbers.summary import Key, by_seed
from leaderboard.remembered import remembered
from leaderboard.results import Results
from leaderboard.text import capital

Net = tuple[str, str, str]  # data set, backbone, variant

# Percent of a machine's processor time. Clocks, caches and memory are shared, so a timing beside
# others is of the moment; a desktop at rest, or a run's own monitor, stays below.
BUSY = 10.0
_MEASURE = "efficiency"
# What depends on the moment, and what is said of it then.
TIMED = ("images_per_second", "latency", "latency_p95", "latency_p99")
BUSY_MACHINE = "busy machine"
# ... and what depends on the hardware.
ON_HARDWARE = (*TIMED, "energy_per_image")
OTHER_HARDWARE = "timed on different hardware"
NOT_BOLD = "They are not bold, and verdicts on them say so."
_NAMED = 6  # networks in one sentence


def timing_notes(results: Results, dataset: str) -> list[str]:
    """Sentences on the networks of a data set that were timed on a busy machine, or not all on the
    same one."""
    found = {
        key: seeds
        for key, seeds in by_seed(results.rows).items()
        if key.dataset == dataset and key.measure.partition("/")[0] == _MEASURE
    }
    load, gpu = (
        {f"{net[1]} {net[2]}": f"{most:.0f}{unit}" for net, most in busy.items()}
        for busy, unit in zip(_busy(found), (" %", ""), strict=True)
    )
    notes = []
    if load:
        notes.append(
            f"Busy machine: other programs took more than {BUSY:g} % of the processors' time "
            f"while these were timed, so images/s and latency are of that moment: {listed(load)}. "
            f"{NOT_BOLD}"
        )
    if gpu:
        notes.append(
            "Busy GPU: other programs had it in use while these were timed, so images/s and "
            f"latency are of that moment: {listed(gpu)}. {NOT_BOLD}"
        )
    return [*notes, *_by_hardware(results, dataset)]


def _by_hardware(results: Results, dataset: str) -> Iterator[str]:
    """A sentence on what was timed where, if that is not one machine's hardware for all."""
    found: dict[str, dict[str, None]] = {}
    for net, names in results.timed_on.items():
        for name in names if net[0] == dataset else ():
            found.setdefault(name, {})[f"{net[1]} {net[2]}"] = None
    if len(found) > 1:
        told = "; ".join(f"on {name}: {', '.join(nets)}" for name, nets in found.items())
        yield (
            "Different hardware: images/s, latency and energy compare only between networks that "
            f"were timed on the same. {capital(told)}. They are not bold, and verdicts across "
            "hardware say so."
        )


@remembered  # asked for number by number
def mixed_hardware(results: Results) -> frozenset[str]:
    """The data sets on which networks were timed on more than one machine's hardware."""
    found: dict[str, set[str]] = {}
    for net, names in results.timed_on.items():
        found.setdefault(net[0], set()).update(names)
    return frozenset(dataset for dataset, names in found.items() if len(names) > 1)


@remembered  # asked for number by number
def busy_nets(results: Results) -> frozenset[Net]:
    """The networks that were timed on a busy machine or GPU."""
    load, gpu = _busy(by_seed(results.rows))
    return frozenset((*load, *gpu))


def _busy(found: Mapping[Key, Mapping[int, float]]) -> tuple[dict[Net, float], dict[Net, float]]:
    """The load of processors (percent) and the programs on the GPU, where these are too many."""
    worst: dict[str, dict[Net, float]] = {"other_load": {}, "other_gpu_processes": {}}
    for key, values in found.items():
        if key.metric in worst and key.measure.partition("/")[0] == _MEASURE:
            # The worst of all seeds and modes.
            known, net = worst[key.metric], key[:3]
            known[net] = max([*values.values(), known.get(net, 0.0)])
    load = {net: most for net, most in worst["other_load"].items() if most > BUSY}
    return load, {net: most for net, most in worst["other_gpu_processes"].items() if most}


def listed(values: dict[str, str]) -> str:
    """`lenet_fc bu (12 %), lenet_fc td (34 %) and 3 more`."""
    named = [f"{name} ({value})" for name, value in values.items()]
    rest = len(named) - _NAMED
    return ", ".join(named[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
