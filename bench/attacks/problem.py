"""What an attack works on: images, the right to ask the network, and the best found so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bench.attacks.source import Source
from bench.models.predict import classes
from bench.models.replay import Replays

Protocol = Literal["min-l2", "paper"]


@dataclass(slots=True)
class Problem:
    """Correctly classified images to be turned into misclassified ones.

    Attributes:
        images: float32 N x C x H x W in [0, 1], on the device to work on.
        labels: int64 N, the right classes, which the network gives for these images.
        logits: the network; N x C x H x W in [0, 1] to N x classes, normalisation inside.
        source: random numbers, by row of the problem and step.
        protocol: the distance by which a candidate is kept in place of an earlier one: ``min-l2``
            L2, ``paper`` L-infinity (the paper's script; facts of the paper, section 6a).
        model: the network as a module, for attacks that need gradients or a library's wrapper.
        replays: of what is asked of it, on CUDA.
        repeat: number of the repeat, from 0.
        seed: a number made from seed, attack, repeat and first sample, for attacks that draw from
            generators of their own.
        best: N x C x H x W, the closest adversarial of each image; the image itself before one
            was found.
        distance: float64 N, its distance by the protocol; inf before one was found.
        evaluations: float64 N on the CPU, predictions spent on each image. Those made ahead to
            fill a batch (see `ahead`) and not needed in the end are not in it, so that it does
            not depend on the batch.
        ask_ahead: whether searches that go on with few images ask for several of their steps at
            once, which fills the batch.
    """

    images: Tensor
    labels: Tensor
    logits: Callable[[Tensor], Tensor]
    source: Source
    protocol: Protocol = "min-l2"
    model: nn.Module | None = None
    replays: Replays | None = None
    repeat: int = 0
    seed: int = 0
    ask_ahead: bool = True
    best: Tensor = field(init=False)
    distance: Tensor = field(init=False)
    evaluations: np.ndarray[Any, np.dtype[np.float64]] = field(init=False)

    def __post_init__(self) -> None:
        self.best = self.images.clone()
        self.distance = torch.full(
            (len(self.images),), torch.inf, dtype=torch.float64, device=self.images.device
        )
        self.evaluations = np.zeros(len(self.images))

    @property
    def rows(self) -> Tensor:
        """int64 N: all rows, for attacks to start with."""
        return torch.arange(len(self.images), device=self.images.device)

    def distances(self, candidates: Tensor, index: Tensor) -> Tensor:
        """float64 n: how far candidates are from the images `index`, by the protocol."""
        difference = (candidates - self.images.index_select(0, index)).flatten(1)
        if self.protocol == "paper":
            return difference.abs_().amax(1).double()
        norm: Tensor = torch.linalg.vector_norm(difference, dim=1, dtype=torch.float64)
        return norm

    def fooled(self, candidates: Tensor, index: Tensor) -> Tensor:
        """Whether candidates (n x C x H x W), variants of images `index`, are misclassified."""
        if len(index) == 0:
            return torch.zeros(0, dtype=torch.bool, device=index.device)
        self.evaluations[index.cpu().numpy()] += 1
        wrong: Tensor = classes(self.logits(candidates)) != self.labels[index]
        return wrong

    def offer(self, candidates: Tensor, index: Tensor) -> Tensor:
        """Ask whether candidates fool the network, and keep those that are strictly closer than
        what is kept so far. `index` may not hold a row twice. Candidates are asked about as they
        are; what is returned is cut to [0, 1] and asked about again, so clamp them before.

        Returns:
            bool n: which fool the network, kept or not.
        """
        wrong = self.fooled(candidates, index)
        hits = wrong.nonzero()[:, 0]
        self._keep(candidates[hits], index[hits])
        return wrong

    def note(self, candidates: Tensor, index: Tensor, wrong: Tensor | None = None) -> None:
        """Count a prediction that the attack has made itself. Of candidates that it has shown to
        be misclassified (`wrong`, bool n), keep those that are strictly closer."""
        self.evaluations[index.cpu().numpy()] += 1
        hits = index[:0] if wrong is None else wrong.nonzero()[:, 0]
        self._keep(candidates[hits], index[hits])

    def ahead(self, active: int) -> int:
        """How many steps to ask for at once while so many images are active.

        The product is at most the number of images: never more is asked than by a search that
        keeps all images in its batches.
        """
        return max(1, len(self.images) // active) if self.ask_ahead else 1

    def first(self, candidates: Tensor, index: Tensor, worth: Tensor | None = None) -> Tensor:
        """Ask about successive candidates of the same images at once, and offer of each image the
        first that fools the network. Counted are candidates up to that one.

        Args:
            candidates: (k * n) x C x H x W, the first candidates of all images, then the second.
            index: int64 n, rows.
            worth: bool k * n, which to ask about; the others do not fool.

        Returns:
            int64 n: number of the first that fools, from 0; k where none does.
        """
        count = len(index)
        # One row for each round of candidates.
        wrong = self._wrong(candidates, index, worth).view(-1, count)
        number = (wrong.long().cumsum(0) == 0).sum(0)
        needed = torch.arange(len(wrong), device=index.device)[:, None] <= number
        if worth is not None:
            needed &= worth.view(-1, count)
        self.evaluations[index.cpu().numpy()] += needed.sum(0).cpu().numpy()
        hits = (number < len(wrong)).nonzero()[:, 0]
        self._keep(candidates[number[hits] * count + hits], index[hits])
        return number

    def _wrong(self, candidates: Tensor, index: Tensor, worth: Tensor | None) -> Tensor:
        """bool k * n: which candidates, if worth asking about, are misclassified."""
        truth = self.labels[index].repeat(len(candidates) // len(index))
        wrong: Tensor
        if worth is None or bool(worth.all()):
            wrong = classes(self.logits(candidates)) != truth
            return wrong
        wrong = torch.zeros_like(worth)
        chosen = worth.nonzero()[:, 0]
        if len(chosen):
            wrong[chosen] = classes(self.logits(candidates[chosen])) != truth[chosen]
        return wrong

    def _keep(self, candidates: Tensor, index: Tensor) -> None:
        """Keep candidates that fool the network where they are strictly closer; NaN only where
        there is nothing else, at no distance, for the harness to tell of."""
        if len(index) == 0:
            return
        distance, known = self.distances(candidates, index), self.distance[index]
        better = (distance < known) | (distance.isnan() & known.isinf())
        rows = index[better]
        self.best[rows] = candidates[better]
        self.distance[rows] = distance[better].nan_to_num_(nan=torch.inf)

    def could_improve(self, candidates: Tensor, index: Tensor) -> Tensor:
        """bool n: which candidates are strictly closer than what is kept; asks nothing."""
        return self.distances(candidates, index) < self.distance[index]
