"""Where training images are: all of them on the device, or on the host where they have no room."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

# Of a GPU's free memory, what images may take; the rest is for networks, and other processes.
SHARE = 0.5
# Batches on their way to a GPU. A host that ran ahead of it by a whole epoch would pin memory for
# each of them.
AHEAD = 4


def fit(images: int, free: float) -> bool:
    """Whether so many bytes of images may lie on a GPU with so many free ones."""
    return images <= SHARE * free


def free(device: torch.device) -> float:
    """Free bytes of a GPU, and those that PyTorch keeps from what this process did before."""
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return float(torch.cuda.mem_get_info(device)[0] + kept)


class Images:
    """Training images, of which a batch at a time is wanted on the device.

    Args:
        images: uint8 N x C x H x W on the CPU, perhaps mapped from a file.
        device: where batches are wanted.
        resident: whether all are put on the device; None: if they fit there. Numbers do not
            depend on it.
    """

    def __init__(self, images: Tensor, device: torch.device, resident: bool | None = None) -> None:
        if resident is None:
            resident = device.type != "cuda" or fit(images.nbytes, free(device))
        self.device, self.resident = device, resident
        self.all = images.to(device) if resident else images
        self.shape = tuple(images.shape)
        self._copies: deque[torch.cuda.Event] = deque()

    def __len__(self) -> int:
        return len(self.all)

    @property
    def home(self) -> torch.device:
        """Where they are, and where numbers of images are wanted."""
        return self.all.device

    def at(self, index: Tensor) -> Tensor:
        """Images with these numbers (int64 n, at `home`), on the device.

        From the host they are copied while the host goes on, `AHEAD` batches at most.
        """
        if self.resident:
            return self.all[index]
        cuda = self.device.type == "cuda"
        if len(self._copies) == AHEAD:
            self._copies.popleft().synchronize()
        # Pinned memory is reused by PyTorch only when the copy out of it has ended.
        batch = torch.empty((len(index), *self.shape[1:]), dtype=torch.uint8, pin_memory=cuda)
        torch.index_select(self.all, 0, index, out=batch)
        there = batch.to(self.device, non_blocking=True)
        if cuda:
            copied = torch.cuda.Event()
            copied.record(torch.cuda.current_stream(self.device))
            self._copies.append(copied)
        return there
