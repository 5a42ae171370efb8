"""Peak memory: of tensors, exact to the byte and the same everywhere, and of CUDA's allocator.

What a process takes of main memory is in :mod:`bench.measures.cost.resident`.
"""

from __future__ import annotations

from collections.abc import Callable

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
