"""A GPU that this process has lost: an illegal access or a broken assertion in a kernel leaves the
CUDA context useless, and whatever the process asks of the device from then on fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class DeviceLost(Exception):  # noqa: N818  (an event, not a mistake)
    """The process can do nothing more on its device; another process can."""


def silence(device: str) -> str:
    """What CUDA says if a new process cannot use the device at all; "" if it can."""
    import torch

    try:
        torch.zeros(1, device=device).item()
    except RuntimeError as error:
        return str(error).strip().partition("\n")[0]
    return ""


def is_lost(device: str | torch.device) -> bool:
    """Whether CUDA answers with an error though nothing is asked of it. It does not where memory
    ran out."""
    if not str(device).startswith("cuda"):
        return False
    import torch

    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False
