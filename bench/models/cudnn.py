"""cuDNN's switches: what a convolution keeps of float32, and how its algorithm is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch


@contextmanager
def convolutions(*, tf32: bool, search: bool) -> Iterator[None]:
    """Set the switches and put them back afterwards.

    Args:
        tf32: whether a convolution may round float32's 24 bits to TF32's 11.
        search: whether cuDNN tries out its algorithms at each new shape, and takes the fastest.
    """
    cudnn: Any = torch.backends.cudnn
    benchmark, put_back = cudnn.benchmark, _tf32_as_it_is()
    cudnn.benchmark, cudnn.allow_tf32 = search, tf32
    try:
        yield
    finally:
        cudnn.benchmark = benchmark
        put_back()


def exact() -> AbstractContextManager[None]:
    """For what is measured: all bits of float32, and no search.

    An attack's batch has another size at almost every step, and each would be searched for; and
    at a boundary of two classes, TF32 in one batch and float32 in another disagree.
    """
    return convolutions(tf32=False, search=False)


def _tf32_as_it_is() -> Callable[[], None]:
    """What puts it back. Where code of others has used PyTorch's newer switches, the older one, of
    which all versions know, does not tell."""
    cudnn: Any = torch.backends.cudnn
    try:
        allowed = cudnn.allow_tf32
    except RuntimeError:
        parts = [(part, part.fp32_precision) for part in (cudnn.conv, cudnn.rnn)]
    else:
        return lambda: setattr(cudnn, "allow_tf32", allowed)

    def put_back() -> None:
        for part, precision in parts:
            part.fp32_precision = precision

    return put_back
