"""The random numbers of Foolbox 2: one numpy generator for each image, drawn from in turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class LegacySource:
    """A `bench.attacks.source.Source` that replays what Foolbox 2 draws.

    Steps are not looked at: attacks ask for an image's numbers in the order Foolbox 2 draws them.
    `dtype` is float64 where Foolbox compares its draws before it rounds them.
    """

    def __init__(self, seeds: Sequence[int], dtype: torch.dtype = torch.float32) -> None:
        self._streams = [np.random.RandomState(seed) for seed in seeds]
        self._dtype = dtype

    def uniform(self, index: Tensor, step: int | Tensor, shape: Sequence[int]) -> Tensor:
        drawn = [self._streams[row].random_sample(tuple(shape)) for row in index.tolist()]
        return torch.from_numpy(np.stack(drawn)).to(self._dtype)

    def normal(self, index: Tensor, step: int | Tensor, shape: Sequence[int]) -> Tensor:
        drawn = [self._streams[row].normal(size=tuple(shape)) for row in index.tolist()]
        return torch.from_numpy(np.stack(drawn)).to(self._dtype)

    def permutation(self, index: Tensor, step: int | Tensor, size: int) -> Tensor:
        drawn = [self._streams[row].permutation(size) for row in index.tolist()]
        return torch.from_numpy(np.stack(drawn))
