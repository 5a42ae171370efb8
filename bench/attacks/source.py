"""Random numbers that belong to a sample, not to a batch.

Attacks draw from a `Source` that is handed to them. The default one computes every number from
what it is for (seed, attack, repeat, sample, step and place) with the counter-based generator
Philox 4x32-10 (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3"), on the device
of the images. So a result depends neither on the batch an image is in nor on the order of work.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

MASK = 0xFFFFFFFF
# Philox 4x32: the two multipliers and the two constants added to the key in every round.
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

Steps = int | Tensor


class Source(Protocol):
    """Where an attack's random numbers come from.

    `index` (int64 n) are rows of the problem, `step` says what the numbers are for: one number
    for all rows, or int64 n. The same row and step give the same numbers, so an attack uses each
    step for one purpose only.
    """

    def uniform(self, index: Tensor, step: Steps, shape: Sequence[int]) -> Tensor:
        """float32 n x shape, uniform in [0, 1)."""
        ...

    def normal(self, index: Tensor, step: Steps, shape: Sequence[int]) -> Tensor:
        """float32 n x shape, standard normal."""
        ...

    def permutation(self, index: Tensor, step: Steps, size: int) -> Tensor:
        """int64 n x size, each row a random order of 0 .. size - 1."""
        ...


class KeyedSource:
    """The default source.

    Args:
        seed: of the network that is attacked.
        attack: the attack's registered name (not its label, which changes no result).
        repeat: number of the repeat, from 0.
        samples: number of each row's image in the test set.
        device: where numbers are made.
    """

    def __init__(
        self,
        seed: int,
        attack: str,
        repeat: int,
        samples: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        text = f"{seed}\n{repeat}\n{attack}".encode()
        words = hashlib.sha256(text).digest()
        self._key = int.from_bytes(words[:4], "little"), int.from_bytes(words[4:8], "little")
        self._samples = torch.as_tensor(list(samples), dtype=torch.int64, device=device)

    def uniform(self, index: Tensor, step: Steps, shape: Sequence[int]) -> Tensor:
        """float32 n x shape, uniform in [0, 1): the upper 24 bits of 32."""
        words = self._words(index, step, math.prod(shape))
        return (words >> 8).float().mul_(2.0**-24).reshape(len(index), *shape)

    def normal(self, index: Tensor, step: Steps, shape: Sequence[int]) -> Tensor:
        """float32 n x shape, standard normal (Box and Muller, 1958)."""
        count = math.prod(shape)
        words = self._words(index, step, count + count % 2)
        first, second = words.chunk(2, 1)
        # In (0, 1], so that the logarithm is finite; 32 bits reach 6.6 standard deviations.
        radius = first.add(1).float().mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
        angle = second.float().mul_(2.0**-31 * math.pi)
        pairs = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
        return pairs[:, :count].reshape(len(index), *shape)

    def permutation(self, index: Tensor, step: Steps, size: int) -> Tensor:
        """int64 n x size: the order of as many random words."""
        return self._words(index, step, size).argsort(stable=True, dim=1)

    def _words(self, index: Tensor, step: Steps, count: int) -> Tensor:
        """int64 n x count of uniform 32-bit words."""
        samples = self._samples[index.to(self._samples.device)][:, None]
        steps = torch.as_tensor(step, dtype=torch.int64, device=samples.device).reshape(-1, 1)
        blocks = torch.arange(-(-count // 4), device=samples.device)[None]
        counter = torch.broadcast_tensors(blocks, steps & MASK, samples & MASK, samples >> 32)
        # One block's four words stand `count / 4` apart: any fixed order is as good.
        return torch.cat(philox(counter, self._key), 1)[:, :count]


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Philox 4x32-10: four int64 tensors of 32-bit words from a counter of four and a key of two.

    A product of two 32-bit words may wrap around in int64, but keeps all its 64 bits.
    """
    a, b, c, d = counter
    left, right = key
    for _ in range(ROUNDS):
        one, two = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a = (two >> 32).bitwise_and_(MASK).bitwise_xor_(b).bitwise_xor_(left)
        c = (one >> 32).bitwise_and_(MASK).bitwise_xor_(d).bitwise_xor_(right)
        b, d = two.bitwise_and_(MASK), one.bitwise_and_(MASK)
        left, right = (left + WEYL[0]) & MASK, (right + WEYL[1]) & MASK
    return a, b, c, d
