"""Where gradient attacks may go: within a norm's ball around each image, and within [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from bench.attacks.source import Source

LEAST = 1e-12  # what norms are divided by at least


class Ball(Protocol):
    """The balls of radius epsilon around N images; `step` overwrites what it is given."""

    def random(self, source: Source, index: Tensor) -> Tensor:
        """N x C x H x W: a random point of each ball."""
        ...

    def step(self, points: Tensor, gradient: Tensor, length: float) -> Tensor:
        """Go a step of that length (in the ball's norm) up the gradient, and back into the ball."""
        ...

    def only(self, index: Tensor) -> None:
        """Go on with the balls of these rows."""
        ...


class LinfBall:
    """No value changes by more than epsilon."""

    def __init__(self, images: Tensor, epsilon: float) -> None:
        self.images, self.epsilon = images, epsilon
        self.low, self.high = (images - epsilon).clamp_(min=0), (images + epsilon).clamp_(max=1)

    def random(self, source: Source, index: Tensor) -> Tensor:
        """Uniform in the cube."""
        noise = source.uniform(index, 0, tuple(self.images.shape[1:]))
        noise = noise.to(self.images).mul_(2 * self.epsilon).sub_(self.epsilon)
        return noise.add_(self.images).clamp_(self.low, self.high)

    def step(self, points: Tensor, gradient: Tensor, length: float) -> Tensor:
        """Every value by the length, after the sign of its gradient."""
        return points.add_(gradient.sign_(), alpha=length).clamp_(self.low, self.high)

    def only(self, index: Tensor) -> None:
        """Go on with the balls of these rows."""
        self.low, self.high = self.low.index_select(0, index), self.high.index_select(0, index)


class L2Ball:
    """The change has an L2 norm of at most epsilon."""

    def __init__(self, images: Tensor, epsilon: float) -> None:
        self.images, self.epsilon = images, epsilon

    def random(self, source: Source, index: Tensor) -> Tensor:
        """A uniform direction, at a distance that is uniform from 0 to epsilon."""
        noise = source.normal(index, 0, tuple(self.images.shape[1:])).to(self.images)
        reach = source.uniform(index, 1, (1, 1, 1)).to(self.images).mul_(self.epsilon)
        return noise.mul_(reach / _norm(noise)).add_(self.images).clamp_(0, 1)

    def step(self, points: Tensor, gradient: Tensor, length: float) -> Tensor:
        """By the length along the gradient; an image whose gradient is zero stays."""
        gradient = _within_reach(gradient)
        change = points.sub_(self.images).add_(gradient.mul_(length / _norm(gradient)))
        # Clipping to [0, 1] brings a point nearer to its image, which is in there: it comes last.
        shrink = (self.epsilon / _norm(change)).clamp_(max=1)
        return change.mul_(shrink).add_(self.images).clamp_(0, 1)

    def only(self, index: Tensor) -> None:
        """Go on with the balls of these rows."""
        self.images = self.images.index_select(0, index)


def _within_reach(gradient: Tensor) -> Tensor:
    """The gradient, overwritten: brought to a largest value of 1 where its norm is so small or so
    large that float32 has no square of it. Others stay as they are, bit for bit."""
    norm = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    odd = (norm < LEAST) | norm.isinf()
    if not odd.any():
        return gradient
    largest = gradient.flatten(1).abs().amax(1)
    usable = odd & (largest > 0) & largest.isfinite()
    return gradient.div_(torch.where(usable, largest, 1.0)[:, None, None, None])


def _norm(changes: Tensor) -> Tensor:
    """N x 1 x 1 x 1, never 0, so that it can be divided by."""
    norm: Tensor = torch.linalg.vector_norm(changes.flatten(1), dim=1)
    return norm.clamp_(min=LEAST)[:, None, None, None]


BALLS: Mapping[str, Callable[[Tensor, float], Ball]] = {"Linf": LinfBall, "L2": L2Ball}
