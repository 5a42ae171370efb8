"""Whether PyTorch may choose algorithms that do not repeat themselves bit by bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def algorithms(*, deterministic: bool) -> Iterator[None]:
    """Set the switch and put it back afterwards.

    An operation that has only algorithms that are not deterministic raises then.
    """
    # `use_deterministic_algorithms` does the same, but imports PyTorch's compiler, to tell it too:
    # half a second in every process, for what nothing here compiles for.
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("error" if deterministic else "default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
