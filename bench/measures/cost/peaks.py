"""Every figure of peak memory that a device and a mode have."""

from __future__ import annotations

import math

import torch
from torch import nn

from arches.analysis.cost import READS_VALUES, is_recurrent, without_values
from bench.measures.cost.memory import (
    GIVEN,
    allocator_peak,
    one_pass,
    tensor_peak,
    weight_bytes,
)
from bench.measures.cost.modes import as_batch, runner
from bench.measures.cost.resident import resident_peak
from bench.measures.cost.subject import Subject
from bench.measures.cost.timing import backing_off
from bench.models import main_memory
from bench.models.memory import is_out_of_memory


def memory_peaks(subject: Subject) -> dict[str, float]:
    """Peak bytes of training and of inference: in tensors, and of CUDA's allocator or resident."""
    mode = subject.mode
    metrics: dict[str, float] = {}
    for name, network in subject.networks.items():
        batch = subject.options.batch_size
        few = least(subject, network) if batch == 1 else 1
        batch = max(batch, few)
        # A compiler has processes and memory of its own, and compiled code keeps its tensors to
        # itself.
        if not mode.compile:
            fitted, peak = _of_tensors(subject, network, batch, few)
            metrics[f"{name}_memory"] = peak + weight_bytes(network)
            metrics[f"{name}_batch_size"] = float(fitted)
            if subject.device.type == "cpu" and subject.options.resident:
                each = peak / fitted + 4 * math.prod(subject.shape)
                fitted = _fitting(fitted, each, GIVEN)
                resident = resident_peak(network, (fitted, *subject.shape), mode)
                if resident is not None:
                    metrics[f"{name}_memory_resident"] = resident
                    metrics[f"{name}_batch_size[resident]"] = float(fitted)
        if subject.device.type == "cuda":
            metrics |= _of_allocator(subject, name, network, batch, few)
    return metrics


def least(subject: Subject, network: nn.Module) -> int:
    """The smallest batch that a network, in its mode, can do: 2 where it needs the statistics of a
    batch, else 1."""
    try:
        # Not compiled: a compiler has errors of its own.
        one_pass(network, runner(network, subject.mode, subject.device, True), subject.images(1))
    except ValueError:
        return 2
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return 1


def _of_tensors(subject: Subject, network: nn.Module, batch: int, few: int) -> tuple[int, float]:
    """Bytes in tensors beside the weights, and of how many images: of shapes alone where that can
    be, else of a real pass."""
    mode = subject.mode
    # There is no autocast for shapes, nor the work space of recurrent layers.
    if mode.precision == "fp32" and not is_recurrent(network):
        try:
            twin = without_values(network).train(network.training)
            images = as_batch(torch.empty(batch, *subject.shape, device="meta"), mode)
            return batch, tensor_peak(twin, runner(twin, mode, images.device), images)
        except (*READS_VALUES, MemoryError):
            pass  # the model reads values while it runs, or has a limit of its own
    forward = runner(network, mode, subject.device)
    return backing_off(
        first_to_try(subject, network, batch, GIVEN),
        lambda n: tensor_peak(network, forward, subject.images(n)),
        few,
    )


def first_to_try(subject: Subject, network: nn.Module, batch: int, share: float) -> int:
    """The batch, or half of it, a quarter ... that takes no more than a share of free main memory:
    where CUDA lacks memory it says so, but Linux ends the process. Two images are always tried."""
    if subject.device.type != "cpu" or batch <= 2 or main_memory.available() is None:
        return batch
    return _fitting(batch, _bytes_of_an_image(subject, network), share)


def _fitting(batch: int, each: float, share: float) -> int:
    """The batch, or half of it ..., two at the least, that takes no more than a share of free main
    memory with so many bytes for each image."""
    free = main_memory.available()
    while free is not None and batch > 2 and batch * each > share * free:
        batch = max(batch // 2, 2)
    return batch


def _bytes_of_an_image(subject: Subject, network: nn.Module) -> float:
    """Of one among others, itself included; two are run, for one has no statistics."""
    forward = runner(network, subject.mode, subject.device, eager=True)

    def held(batch: int) -> float:
        images = subject.images(batch)
        return tensor_peak(network, forward, images) + images.nbytes

    batch, peak = backing_off(2, held)
    return peak / batch


def _of_allocator(
    subject: Subject, name: str, network: nn.Module, batch: int, few: int
) -> dict[str, float]:
    """Bytes of CUDA's allocator, at the largest batch up to the one asked for that fits."""
    forward = runner(network, subject.mode, subject.device)
    fitted, (allocated, reserved) = backing_off(
        batch, lambda n: allocator_peak(network, forward, subject.images(n)), few
    )
    return {
        f"{name}_memory_allocated": allocated,
        f"{name}_memory_reserved": reserved,
        f"{name}_batch_size[allocated]": float(fitted),
    }
