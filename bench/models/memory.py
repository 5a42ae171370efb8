"""Memory that runs out: recognised on every device, so that a batch can be halved."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from bench.models.heap import give_back

Result = TypeVar("Result")

# The CPU allocator raises a plain RuntimeError, and so do CUDA and its libraries (cuDNN, cuBLAS)
# where they ask for memory by themselves. Of a convolution without scratch space PyTorch says that
# it finds no algorithm or engine, of a cuBLAS or cuDNN that cannot even begin that it is not
# initialised.
_WORDS = (
    "not enough memory",
    "can't allocate memory",
    "bad_alloc",
    "cuda error: out of memory",
    "status_alloc_failed",
    "allocation_failed",
    "unable to find an engine",
    "unable to find a valid cudnn algorithm",
    "cublas_status_not_initialized",
    "cudnn_status_not_initialized",
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
    give_back()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def batches_that_fit(
    count: int, size: int, work: Callable[[slice], Result]
) -> Iterator[tuple[slice, Result]]:
    """Work on `count` things, `size` at a time; half as many from where memory runs out on.

    Yields:
        The rows of each batch, start and stop as they are, and what `work` returned for them.

    Raises:
        RuntimeError, MemoryError: one alone does not fit. Others as `work` does.
    """
    start = 0
    while start < count:
        rows = slice(start, min(start + size, count))
        try:
            found = work(rows)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or size == 1:
                raise
            size = max(1, (rows.stop - start) // 2)
        else:
            yield rows, found
            start = rows.stop
            continue
        # Outside of the handler, where the error no longer holds the tensors of its frames.
        release()


def in_batches_that_fit(count: int, size: int, work: Callable[[slice], Result]) -> list[Result]:
    """As `batches_that_fit`, without the rows."""
    return [found for _, found in batches_that_fit(count, size, work)]
