"""Whether somebody has written into a data set that is in memory."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from bench.data.dataset import Dataset

# Of so many images, so many values each are compared.
_SAMPLED = 32


class Marks:
    """What tells of a data set whether it was written into.

    To read all of it after every cell would take longer than a small cell. PyTorch counts changes
    of a tensor, but not those by way of numpy: for them all labels are compared, and a sample of
    the images and masks.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._marks = {name: _mark(tensor) for name, tensor in _tensors(dataset)}

    def changed(self, dataset: Dataset) -> str:
        """What of it is not as it was: "test images", say; nothing if all is."""
        for name, tensor in _tensors(dataset):
            version, sample = self._marks[name]
            now, values = _mark(tensor)
            if now != version or not values.equal(sample):
                return name
        return ""


def _tensors(dataset: Dataset) -> Iterator[tuple[str, Tensor]]:
    for part, split in (("test", dataset.test), ("training", dataset.train)):
        yield f"{part} images", split.images
        if split.labels is not None:
            yield f"{part} labels", split.labels
        if split.masks is not None:
            yield f"{part} masks", split.masks


def _mark(tensor: Tensor) -> tuple[int, Tensor]:
    version = 0 if tensor.is_inference() else tensor._version
    if tensor.dim() == 1:
        return version, tensor.clone()
    rows = tensor[:: max(1, len(tensor) // _SAMPLED)].flatten(1)
    return version, rows[:, :: max(1, rows.shape[1] // _SAMPLED)].clone()
