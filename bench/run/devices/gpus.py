"""Several GPUs of this machine in one run, `cuda:0,2`: each worker process sees one of them."""

from __future__ import annotations

import os
from collections.abc import Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"


def split(device: str) -> tuple[str, tuple[int, ...]]:
    """`cuda:0,2` as the device `cuda:0`, which stands for all that are of its kind, and the
    numbers (0, 2); of any other device, itself and ()."""
    kind, _, numbers = device.partition(":")
    if "," not in numbers:
        return device, ()
    gpus = tuple(map(int, numbers.split(",")))
    return f"{kind}:{gpus[0]}", gpus


def names(gpus: Sequence[int]) -> tuple[str, ...]:
    """What a process has to find in `CUDA_VISIBLE_DEVICES` to see only one of these GPUs.

    They are counted among those that this process sees, which the variable may limit, and which
    it may name by their UUID.
    """
    seen = [name.strip() for name in os.environ.get(VISIBLE, "").split(",")]
    return tuple(seen[gpu] if seen != [""] else str(gpu) for gpu in gpus)
