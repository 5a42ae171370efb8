"""Two named modes: `deterministic` (bit-identical on one machine) and `fast`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.utils.deterministic

from bench.models.algorithms import algorithms
from bench.models.cudnn import convolutions
from bench.models.settings import Mode


@contextmanager
def numerics(mode: Mode, device: torch.device) -> Iterator[None]:
    """Set PyTorch's switches for one cell and put them back afterwards.

    In deterministic mode convolutions on CUDA keep the 24 bits of float32; in fast mode those of a
    training may use TF32, which is PyTorch's default.
    """
    deterministic = mode == "deterministic"
    if deterministic and device.type == "cuda":
        # cuBLAS reads it at its first call in the process.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with (
        algorithms(deterministic=deterministic),
        convolutions(tf32=not deterministic, search=not deterministic),
    ):
        yield


@contextmanager
def unfilled(known_code: bool) -> Iterator[None]:
    """Leave new memory as it is, where the code is known not to read it before it writes.

    In deterministic mode PyTorch fills every new tensor, so that code which reads it too early
    shows; for a small network that is a tenth of the time, and it changes no result.
    """
    switch: Any = torch.utils.deterministic  # its type hints do not know the setting
    before = switch.fill_uninitialized_memory
    switch.fill_uninitialized_memory = before and not known_code
    try:
        yield
    finally:
        switch.fill_uninitialized_memory = before


def current(device: torch.device) -> AbstractContextManager[object]:
    """Make a CUDA device the current one, for streams and memory that name none."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@contextmanager
def reproducible_threads(mode: Mode, device: torch.device) -> Iterator[None]:
    """One CPU thread where results must not depend on how many there are.

    Sums are split among threads, so their number (a matter of `--workers`) shows in the last
    bits of what is trained.
    """
    before = torch.get_num_threads()
    if mode == "deterministic" and device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
