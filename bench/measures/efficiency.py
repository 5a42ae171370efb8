"""Efficiency: parameters, FLOPs, throughput and peak memory of a network at the data set's size."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from bench.measures.base import Context, Found, Measure
from bench.suite.recipe import Number, Whole
from leaderboard.results import MetricInfo

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.models.network import Network


class Options(BaseModel):
    """Options of the measure in a suite: batch size of every figure, and seconds spent timing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: Annotated[Whole, Field(ge=1)] = 128
    seconds: Annotated[Number, Field(gt=0)] = 1.0


def run(context: Context) -> Found:
    """Return the figures; random images serve, for values do not change the cost."""
    import torch

    options: Options = context.options
    network = context.network.eval()
    shape = (options.batch_size, context.dataset.channels, *context.dataset.test.images.shape[2:])
    generator = torch.Generator().manual_seed(context.seed)
    images = torch.rand(shape, generator=generator).to(context.device)
    parameters = [p for p in network.parameters() if p.requires_grad]
    metrics = {
        "parameters": float(sum(p.numel() for p in parameters)),
        "flops": _flops(network, images[:1]),
        "train_memory": _training_memory(network, images, context.device),
        "images_per_second": _throughput(network, images, options.seconds, context.device),
    }
    return Found(metrics)


def _flops(network: Network, image: Tensor) -> float:
    """Floating-point operations of one forward pass of one image (2 per multiply-add)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    return float(counter.get_total_flops())


def _training_memory(network: Network, images: Tensor, device: torch.device) -> float:
    """Peak bytes held in tensors during one forward and backward pass in training mode, weights
    included: on CUDA what the allocator reports, on the CPU the storages alive at once."""
    import copy

    import torch

    from bench.measures.memory import StorageTracker

    # A copy: training mode moves the statistics of batch normalisation.
    twin = copy.deepcopy(network).train()
    held = sum(t.untyped_storage().nbytes() for t in [*twin.parameters(), *twin.buffers()])
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        twin(images).sum().backward()
        torch.cuda.synchronize(device)
        return float(torch.cuda.max_memory_allocated(device) - before + held)
    with StorageTracker() as tracker:
        twin(images).sum().backward()
    return float(tracker.peak + held)


def _throughput(network: Network, images: Tensor, seconds: float, device: torch.device) -> float:
    """Images per second of inference: median over batches for about `seconds`, after warm-up."""
    import torch

    def once() -> float:
        start = time.perf_counter()
        network(images)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    with torch.no_grad():
        for _ in range(3):
            once()
        times: list[float] = []
        while sum(times) < seconds or len(times) < 5:
            times.append(once())
    return len(images) / statistics.median(times)


MEASURE = Measure(
    "efficiency",
    run,
    options=Options,
    exclusive=True,
    metrics={
        "parameters": MetricInfo("parameters", "", "lower", headline=True, scale="si"),
        "flops": MetricInfo("FLOPs", "per image", "lower", headline=True, scale="si"),
        "images_per_second": MetricInfo(
            "images/s", "images/s", "higher", headline=True, scale="si"
        ),
        "train_memory": MetricInfo("training memory", "B", "lower", headline=True, scale="bytes"),
    },
)
