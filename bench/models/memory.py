"""Memory that runs out: recognised on every device, so that a batch can be halved."""

from __future__ import annotations

import gc

import torch

# The CPU allocator raises a plain RuntimeError, and so do CUDA and its libraries (cuDNN, cuBLAS)
# where they ask for memory by themselves.
_WORDS = (
    "not enough memory",
    "can't allocate memory",
    "bad_alloc",
    "cuda error: out of memory",
    "status_alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out (CUDA, CPU, or Python's own)."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _WORDS)


def release() -> None:
    """Give back what a failed attempt held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
