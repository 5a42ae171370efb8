"""What clean images say of a network, found out once for all cells that measure it.

The cells of a unit share one memory (`Context.known`), which is emptied when a measure turns out to
have changed the network. What is found depends neither on who asks first nor on whether it is
remembered: batches are always the same, and random numbers are forked off.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from bench.measures.base import Context

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

T = TypeVar("T")


def predictions(context: Context, index: NDArray[np.int64] | None = None) -> Tensor:
    """Predicted classes, int64 n on the CPU, of the clean test images `index` (all by default);
    `NO_CLASS`, with a warning, where the network gives NaN.

    The caller's own: it may be changed.
    """
    import torch

    from bench.models.predict import NO_CLASS
    from bench.models.predict import predictions as predict

    images, which = context.dataset.test.images, "all"
    if index is not None and not _is_everything(index, len(images)):
        images, which = images[torch.from_numpy(index)], name_of(index)

    def find() -> Tensor:
        classes = predict(context.network, images, context.device)
        missing = int((classes == NO_CLASS).sum())
        if missing:
            warnings.warn(
                f"the network gives NaN for {missing} of {len(classes)} test images of "
                f"{context.dataset.name}: they count as misclassified",
                stacklevel=2,
            )
        return classes

    found = once(context, f"predictions of {which}", find)
    return found.clone()


def once(context: Context, what: str, find: Callable[[], T]) -> T:
    """What `find` returns, remembered under the name `what`; not to be changed."""
    from bench.attacks.isolation import untouched

    if what not in context.known:
        with untouched(None, context.seed, context.device):
            context.known[what] = find()
    found: T = context.known[what]
    return found


def _is_everything(index: NDArray[np.int64], count: int) -> bool:
    return len(index) == count and bool((index[1:] > index[:-1]).all())


def name_of(index: NDArray[np.int64]) -> str:
    """A name for a choice of images."""
    return hashlib.sha256(index.tobytes()).hexdigest()
