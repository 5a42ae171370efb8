"""Peak memory: of tensors, exact to the byte and the same everywhere, and of CUDA's allocator.

What a process takes of main memory is in :mod:`bench.measures.resident`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from arches.analysis.attention import fused_attention
from arches.analysis.storages import StorageTracker
from bench.models.memory import release

Forward = Callable[[Tensor], Tensor]

# Shares of free main memory that may be taken, by a search and by a batch that was asked for:
# beyond it Linux ends processes, without a word.
SEARCHED, GIVEN = 0.5, 0.9


def weight_bytes(network: nn.Module) -> int:
    """Bytes of all weights and statistics; what several of them share counts once."""
    storages = [t.untyped_storage() for t in (*network.parameters(), *network.buffers())]
    return sum({storage._cdata: storage.nbytes() for storage in storages}.values())


def one_pass(network: nn.Module, forward: Forward, images: Tensor) -> None:
    """Forward and backward in training mode, forward alone in eval mode; gradients are dropped."""
    if network.training:
        loss = forward(images).sum()
        if loss.requires_grad:  # else there is nothing to train, and no backward pass
            loss.backward()
        network.zero_grad(set_to_none=True)
    else:
        with torch.no_grad():
            forward(images)


def tensor_peak(network: nn.Module, forward: Forward, images: Tensor) -> float:
    """Peak bytes in tensors during :func:`one_pass`, without the weights and the images themselves.

    It is arithmetic on shapes: on the meta device as on any other, and the same everywhere. Scratch
    space inside of operations is not in it.
    """
    with StorageTracker() as tracker, fused_attention():
        one_pass(network, forward, images)
    return float(tracker.peak)


def allocator_peak(network: nn.Module, forward: Forward, images: Tensor) -> tuple[float, float]:
    """Peak bytes of CUDA's allocator during :func:`one_pass`, after one to warm up.

    Returns:
        `allocated`: what this network took, weights included, the images themselves not; and
        `reserved`: all that the allocator of this process held, whoever it was for, as `nvidia-smi`
        shows it (less CUDA's own context).
    """
    device = images.device
    one_pass(network, forward, images)
    release()
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    one_pass(network, forward, images)
    torch.cuda.synchronize(device)
    allocated = torch.cuda.max_memory_allocated(device) - before + weight_bytes(network)
    return float(allocated), float(torch.cuda.max_memory_reserved(device))


def available(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Bytes of main memory that may still be taken: of the machine, or of this control group if
    that is less; None where the system does not say."""
    free = []
    with suppress(OSError, ValueError, StopIteration):
        lines = (proc / "meminfo").read_text(encoding="utf-8").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        free.append(float(line.split()[1]) * 1024)
    with suppress(OSError, ValueError):
        used = (groups / "memory.current").read_text(encoding="utf-8")
        free.append(float((groups / "memory.max").read_text(encoding="utf-8")) - float(used))
    return min(free, default=None)
