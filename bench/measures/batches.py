"""Work on many images batch by batch: finished batches are kept, and one that does not fit into
memory is halved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measures.base import Context
from bench.models.memory import is_out_of_memory, release

Arrays = dict[str, NDArray[Any]]


def in_batches(
    context: Context,
    samples: NDArray[np.int64],
    batch_size: int,
    work: Callable[[slice], Mapping[str, NDArray[Any]]],
) -> Arrays:
    """Do some work on images, a batch at a time.

    Args:
        context: where finished batches are kept, and progress is told.
        samples: number of each image in the test set.
        batch_size: to begin with.
        work: takes the rows of a batch, and returns arrays, the same of each batch.

    Returns:
        The arrays of all batches, one behind the other; an array that a kept batch of an earlier
        version does not have is left out.

    Raises:
        RuntimeError: one image alone does not fit into memory. Others as `work` does.
    """
    parts: list[Mapping[str, NDArray[Any]]] = []
    start, total = 0, len(samples)
    while start < total:
        stop = min(start + batch_size, total)
        name = f"images {samples[start]}-{samples[stop - 1]} ({stop - start})"
        part = context.parts.get(name)
        if part is None:
            try:
                part = work(slice(start, stop))
            except Exception as error:
                if not is_out_of_memory(error) or batch_size == 1:
                    raise
                batch_size = max(1, min(batch_size, stop - start) // 2)
            if part is None:  # outside of the handler, whose error holds what did not fit
                release()
                continue
            context.parts.put(name, part)
        parts.append(part)
        start = stop
        context.progress(start / total)
    shared = [key for key in parts[0] if all(key in part for part in parts)]
    return {key: np.concatenate([part[key] for part in parts]) for key in shared}
