"""Every figure of peak memory that a device and a mode have."""

from __future__ import annotations

import torch
from torch import nn

from arches.analysis.cost import READS_VALUES, without_values
from bench.measures.memory import allocator_peak, tensor_peak
from bench.measures.modes import as_batch, runner
from bench.measures.resident import resident_peaks
from bench.measures.subject import Subject
from bench.measures.timing import backing_off


def memory_peaks(subject: Subject) -> dict[str, float]:
    """Peak bytes of training and of inference: in tensors, and of CUDA's allocator or resident."""
    batch, mode = subject.options.batch_size, subject.mode
    metrics: dict[str, float] = {}
    for name, network in subject.networks.items():
        if not mode.compile:  # compiled code keeps its tensors to itself
            metrics |= _of_tensors(subject, name, network)
        if subject.device.type == "cuda":
            metrics |= _of_allocator(subject, name, network)
    # A compiler has processes and memory of its own.
    if subject.device.type == "cpu" and subject.options.resident and not mode.compile:
        found = resident_peaks(subject.networks, (batch, *subject.shape), mode)
        metrics |= {f"{name}_memory_resident": peak for name, peak in found.items()}
    return metrics


def _of_tensors(subject: Subject, name: str, network: nn.Module) -> dict[str, float]:
    """Bytes in tensors: of shapes alone where that can be, else of a real pass."""
    batch, mode = subject.options.batch_size, subject.mode
    if mode.precision == "fp32":  # there is no autocast for shapes
        try:
            twin = without_values(network).train(network.training)
            images = as_batch(torch.empty(batch, *subject.shape, device="meta"), mode)
            forward = runner(twin, mode, images.device)
            return {f"{name}_memory": tensor_peak(twin, forward, images)}
        except READS_VALUES:
            pass  # the model reads values while it runs
    forward = runner(network, mode, subject.device)
    fitted, peak = backing_off(batch, lambda n: tensor_peak(network, forward, subject.images(n)))
    return {f"{name}_memory": peak, f"{name}_batch_size": float(fitted)}


def _of_allocator(subject: Subject, name: str, network: nn.Module) -> dict[str, float]:
    """Bytes of CUDA's allocator, at the largest batch up to the one asked for that fits."""
    forward = runner(network, subject.mode, subject.device)
    fitted, (allocated, reserved) = backing_off(
        subject.options.batch_size,
        lambda batch: allocator_peak(network, forward, subject.images(batch)),
    )
    return {
        f"{name}_memory_allocated": allocated,
        f"{name}_memory_reserved": reserved,
        f"{name}_batch_size": float(fitted),
    }
