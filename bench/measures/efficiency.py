"""Efficiency: parameters, operations, memory, throughput, latency and energy of a network.

Everything is of images of the data set's size. What concerns prediction is of the network as it is
deployed: branches that only training needs are folded, as timm does for its tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.measures.base import Context, Found, Item, Measure
from bench.measures.cost.options import Options, Task
from leaderboard.results import Better, MetricInfo, Scale

if TYPE_CHECKING:
    from torch import nn

    from bench.measures.cost.subject import Subject


def items(options: Options) -> list[Item]:
    """A cell for each mode; the default one has no name. It, or else the first, has the counts."""
    # The counts come with the default mode: others may fail, as where there is no compiler.
    labels = [mode.label for mode in options.modes]
    first = labels.index("") if "" in labels else 0
    # In an order and form that say the same for the same wish.
    wanted = sorted(set(options.batch_sizes), key=str)
    key = options.model_dump(mode="json", exclude={"modes"}) | {"batch_sizes": wanted}
    return [
        Item(
            mode.label or None,
            key | {"mode": mode.model_dump(mode="json"), "counts": number == first},
            Task(options, mode, number == first),
        )
        for number, mode in enumerate(options.modes)
    ]


def note(options: Options) -> str:
    """How it was measured, in a sentence."""
    modes = ", ".join(mode.label or "fp32" for mode in options.modes)
    images = "1 image" if options.batch_size == 1 else f"{options.batch_size} images"
    return (
        f"Efficiency: FLOPs are two for each multiply-add; training memory is that of tensors in "
        f"a forward and backward pass of {images}; images/s is the median of "
        f"batches of {options.batch_size}, unless it says otherwise ({modes})."
    )


def run(context: Context) -> Found:
    """Return the figures of a mode; those that this machine or mode does not have are left out.

    - `parameters` (without frozen ones), `flops`, `macs` and `activations` (elements) of the
      deployed network for one image (:mod:`arches.analysis.operations`), `train_parameters`;
    - `train_memory`, `inference_memory`: bytes in tensors; `..._allocated` and `..._reserved` of
      CUDA's allocator, `..._resident` of a fresh process on the CPU. `train_batch_size` and
      `inference_batch_size` are their batches (`[allocated]`, `[resident]`: of those), fewer where
      memory ran out, two instead of one where a network needs the statistics of a batch (then
      `asked_batch_size` tells what was asked for);
    - `images_per_second` and `batch_size`, and the like for other batches (`[64]`, `[largest]`),
      `largest_batch`; `..._iqr` are interquartile ranges;
    - `latency` of one image and its tails, in ms (:func:`bench.measures.cost.timing.latencies`);
    - `energy_per_image` in joules, of the device alone, while `images_per_second` was timed;
    - `other_load`, `clock` and others of :func:`bench.measures.cost.sensors.watching`.

    Raises:
        BenchError: not even one image fits into memory.
    """
    from bench.measures.cost.peaks import memory_peaks
    from bench.measures.cost.speed import speeds
    from bench.measures.cost.subject import subject_of
    from bench.measures.cost.timing import fastest

    task: Task = context.options
    with fastest():
        subject = subject_of(context)
        metrics: dict[str, float] = {}
        if task.counts:
            metrics = _counts(subject) | _by_depth(subject, len(context.dataset.classes))
        metrics |= memory_peaks(subject)
        metrics |= speeds(subject, context.progress)
    asked = float(task.options.batch_size)
    if any(metrics.get(name, asked) != asked for name in _OF_THE_ASKED):
        metrics["asked_batch_size"] = asked
    return Found(metrics)


# The batches of the figures that are to be of `batch_size` images.
_OF_THE_ASKED = ("batch_size", "train_batch_size", "inference_batch_size")


def _counts(subject: Subject) -> dict[str, float]:
    from arches.analysis.operations import count_operations

    trained = [(p.numel(), p.requires_grad) for p in subject.trained.parameters()]
    found = count_operations(subject.deployed, subject.shape)
    counts: dict[str, float] = {
        "parameters": _learned(subject.trained, subject.deployed),
        "train_parameters": sum(size for size, learns in trained if learns),
        "flops": found.flops,
        "macs": found.macs,
        "activations": found.activations,
    }
    return {name: float(value) for name, value in counts.items()}


def _learned(trained: nn.Module, deployed: nn.Module) -> int:
    """Parameters of a deployed network without frozen ones. Folding makes new ones, which were
    learned if one of those that went into them was."""
    before = dict(trained.named_parameters())
    after = dict(deployed.named_parameters())
    folded = any(before[name].requires_grad for name in before.keys() - after.keys())
    return sum(
        weight.numel()
        for name, weight in after.items()
        if (before[name].requires_grad if name in before else folded)
    )


def _by_depth(subject: Subject, classes: int) -> dict[str, float]:
    """Bytes that training keeps for its backward pass at each depth, per image; nothing for a
    network that cannot be described."""
    from arches.analysis.cost import READS_VALUES
    from arches.analysis.part_cost import saved_by_depth

    backbone, (channels, side, _) = subject.trained.get_submodule("backbone"), subject.shape
    try:
        found = saved_by_depth(backbone, channels, classes, side)
    except READS_VALUES:
        return {}
    return {f"kept_bytes[depth {depth}]": float(size) for depth, size in found.items()}


def forwards(task: Task, test_samples: int) -> float:
    """A pass of training, which counts for three, and one of prediction, in processes of their own;
    other memory is arithmetic."""
    return 4.0 * task.options.batch_size if task.options.resident else 0.0


def seconds(task: Task, image: float) -> float:
    """Each timing takes as long as the suite says, or warm-up and five passes if that is longer."""
    options = task.options
    more = [options.limit if wish == "largest" else int(wish) for wish in options.batch_sizes]
    batches = [options.batch_size, 1, *more]
    timed = sum(max(options.seconds, 8 * batch * image) for batch in batches)
    if task.mode.compile:
        return timed + _COMPILE * len(batches)
    return timed + (_START if options.resident else 0.0)


# About what a compiler takes for a network and a batch, and a process that imports PyTorch.
_COMPILE, _START = 15.0, 3.0

_DETAILS: tuple[tuple[str, str, str, Better, Scale], ...] = (
    ("train_parameters", "parameters in training", "", "lower", "si"),
    ("macs", "MACs", "per image", "lower", "si"),
    ("activations", "activations", "elements per image", "lower", "si"),
    ("kept_bytes", "kept for the backward pass", "B per image", "lower", "bytes"),
    ("inference_memory", "inference memory", "B", "lower", "bytes"),
    ("train_memory_allocated", "training memory, allocated", "B", "lower", "bytes"),
    ("train_memory_reserved", "training memory, reserved", "B", "lower", "bytes"),
    ("train_memory_resident", "training memory, resident", "B", "lower", "bytes"),
    ("inference_memory_allocated", "inference memory, allocated", "B", "lower", "bytes"),
    ("inference_memory_reserved", "inference memory, reserved", "B", "lower", "bytes"),
    ("inference_memory_resident", "inference memory, resident", "B", "lower", "bytes"),
    ("train_batch_size", "batch of the training memory", "images", "neither", "plain"),
    ("inference_batch_size", "batch of the inference memory", "images", "neither", "plain"),
    ("asked_batch_size", "batch asked for", "images", "neither", "plain"),
    ("images_per_second_iqr", "images/s, interquartile range", "images/s", "lower", "si"),
    ("batch_size", "batch of the throughput", "images", "neither", "plain"),
    ("largest_batch", "largest batch", "images", "higher", "plain"),
    ("latency", "latency", "ms", "lower", "plain"),
    ("latency_iqr", "latency, interquartile range", "ms", "lower", "plain"),
    ("latency_p95", "latency, 95th percentile", "ms", "lower", "plain"),
    ("latency_p99", "latency, 99th percentile", "ms", "lower", "plain"),
    ("latency_samples", "passes of the latency", "", "neither", "plain"),
    ("energy_per_image", "energy", "J per image", "lower", "plain"),
    ("other_load", "load by others", "%", "lower", "plain"),
    ("other_gpu_processes", "other processes on the GPU", "", "lower", "plain"),
    ("clock", "clock", "MHz", "neither", "plain"),
    ("power_state", "power state", "", "lower", "plain"),
)
MEASURE = Measure(
    "efficiency",
    run,
    version=2,
    options=Options,
    items=items,
    exclusive=True,
    per_seed=False,
    forwards=forwards,
    seconds=seconds,
    note=note,
    metrics={
        "parameters": MetricInfo("parameters", "", "lower", headline=True, scale="si"),
        "flops": MetricInfo("FLOPs", "per image", "lower", headline=True, scale="si"),
        "train_memory": MetricInfo("training memory", "B", "lower", headline=True, scale="bytes"),
        "images_per_second": MetricInfo(
            "images/s", "images/s", "higher", headline=True, scale="si"
        ),
    }
    | {
        name: MetricInfo(title, unit, better, scale=scale)
        for name, title, unit, better, scale in _DETAILS
    },
)
