"""Work on many images batch by batch: finished batches are kept, and one that does not fit into
memory is halved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measures.base import Context
from bench.models.memory import batches_that_fit

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

    def finished(rows: slice) -> tuple[str, Mapping[str, NDArray[Any]], bool]:
        """The name of a batch, its arrays, and whether they were kept already."""
        first, last = samples[rows.start], samples[rows.stop - 1]
        name = f"images {first}-{last} ({rows.stop - rows.start})"
        part = context.parts.get(name)
        return (name, work(rows), False) if part is None else (name, part, True)

    parts: list[Mapping[str, NDArray[Any]]] = []
    for rows, (name, part, is_kept) in batches_that_fit(len(samples), batch_size, finished):
        if not is_kept:
            context.parts.put(name, part)
        parts.append(part)
        context.progress(rows.stop / len(samples))
    shared = [key for key in parts[0] if all(key in part for part in parts)]
    return {key: np.concatenate([part[key] for part in parts]) for key in shared}
