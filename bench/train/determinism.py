"""Two named modes: `deterministic` (bit-identical on one machine) and `fast`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.suite.recipe import Recipe


def is_deterministic(recipe: Recipe, device: torch.device) -> bool:
    """What the recipe's `deterministic` means here: by default true on the CPU only."""
    if recipe.deterministic is None:
        return device.type == "cpu"
    return recipe.deterministic


@contextmanager
def numerics(deterministic: bool, device: torch.device) -> Iterator[None]:
    """Set PyTorch's switches for one cell and put them back afterwards."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    if deterministic and device.type == "cuda":
        # cuBLAS reads it at its first call in the process.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def reproducible_threads(deterministic: bool, device: torch.device) -> Iterator[None]:
    """One CPU thread where results must not depend on how many there are.

    Sums are split among threads, so their number (a matter of `--workers`) shows in the last
    bits of what is trained.
    """
    before = torch.get_num_threads()
    if deterministic and device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators (initialisation, dropout) and restore them afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
