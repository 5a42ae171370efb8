"""The contract of an attack, its random numbers, and the registry.

An attack sees images in [0, 1] and a `Problem` that predicts; normalisation is inside the
network. It returns one candidate per image; whether that fools the network is decided outside,
by a fresh prediction.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import BenchError
from bench.identity import reference_key
from bench.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

REGISTRY = Registry(
    "attack",
    {
        "additive_gaussian": (
            "bench.attacks.additive_gaussian:ATTACK",
            "Gaussian noise, growing until the first hit",
        ),
        "gaussian_blur": (
            "bench.attacks.gaussian_blur:ATTACK",
            "Gaussian blur, growing until the first hit (deterministic)",
        ),
    },
)


@dataclass(slots=True)
class Problem:
    """What an attack works on: correctly classified images, and the right to ask.

    `images` is float N x C x H x W in [0, 1], `labels` int64 N. `evaluations` (int64 N, on the
    CPU) counts the predictions spent on each image.
    """

    images: Tensor
    labels: Tensor
    logits: Callable[[Tensor], Tensor]
    streams: Sequence[np.random.Generator]
    evaluations: np.ndarray[Any, np.dtype[np.int64]] = field(init=False)

    def __post_init__(self) -> None:
        self.evaluations = np.zeros(len(self.images), dtype=np.int64)

    def fooled(self, candidates: Tensor, index: Tensor) -> Tensor:
        """Whether `candidates` (n x C x H x W), variants of images `index`, are misclassified."""
        self.evaluations[index.cpu().numpy()] += 1
        wrong: Tensor = self.logits(candidates).argmax(1) != self.labels[index]
        return wrong


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack's declaration.

    `run(problem, **options)` returns a tensor like `problem.images`: for every image the
    candidate found, or the image itself where none was. `deterministic` attacks are not
    repeated, for a repeat would be the same. `typical` is about how many predictions it spends
    on an image, for the estimate of `plan`. Raise `version` when results change.
    """

    run: Callable[..., Tensor]
    deterministic: bool
    version: int = 1
    typical: int = 100
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults with the given values.

        Raises:
            BenchError: an option this attack does not have, or of another type.
        """
        for key, value in given.items():
            if key not in self.defaults:
                known = ", ".join(sorted(self.defaults)) or "it has none"
                raise BenchError(f"unknown option '{key}'; known: {known}")
            whole = isinstance(self.defaults[key], int)
            kind = int if whole else int | float
            if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value < math.inf:
                what = "whole number" if whole else "number"
                raise BenchError(f"option '{key}' must be a positive {what}, not {value!r}")
        return {**self.defaults, **given}


def load(name: str) -> Attack:
    """Return the attack of that name; a plain function counts as random and option-free.

    Raises:
        BenchError: unknown, does not import, or no attack.
    """
    found = REGISTRY.load(name)
    if isinstance(found, Attack):
        return found
    if callable(found):
        return Attack(found, deterministic=False)
    raise BenchError(f"attack '{name}' is neither an Attack nor a function")


def stream(seed: int, attack: str, repeat: int, sample: int) -> np.random.Generator:
    """The random numbers of one sample: a counter-based stream keyed by what it is for (the
    attack's registered name, not its label, which changes no result).

    It is drawn from step by step, so a result depends neither on the batch an image is in nor
    on the number of workers.
    """
    name = np.frombuffer(hashlib.sha256(attack.encode()).digest(), dtype="<u4").tolist()
    words = [*name, seed, repeat, sample]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


def key(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies an attack with these options: name, version, all option values, code.

    Raises:
        BenchError: unknown attack or option.
    """
    attack = load(name)
    found = reference_key(REGISTRY.find(name), attack.options(options))
    return {**found, "version": attack.version}
