"""Random numbers of the whole process, which code of others draws from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int, cuda: Sequence[torch.device] | None = None) -> Iterator[None]:
    """Seed the global generators of torch (initialisation, dropout), numpy and Python, and restore
    them afterwards. Nothing here draws from the last two, but code of others may.

    Args:
        seed: of all of them.
        cuda: devices whose generators are restored; all of those in use, if None.
    """
    devices: list[torch.device | int] = [*cuda] if cuda is not None else _in_use()
    numpys, pythons = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpys)
            random.setstate(pythons)


def _in_use() -> list[torch.device | int]:
    return [*range(torch.cuda.device_count())] if torch.cuda.is_initialized() else []
