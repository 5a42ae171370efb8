"""Each sign of a network that attacks cannot judge: fires where it should, and only there."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from bench.measures.health import symptoms

CPU = torch.device("cpu")
IMAGES = torch.randint(0, 256, (20, 1, 6, 6), generator=torch.Generator().manual_seed(0)).byte()
LABELS = torch.arange(20) % 3
HEALTHY = {"randomised": 0.0, "probabilities": 0.0, "zero_gradient": 0.0, "gradient_in_forward": 0}


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval()


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = plain()


class Random(Wrapped):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images + 0.01 * torch.randn_like(images))


class Softmax(Wrapped):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).softmax(1)


class Rounded(Wrapped):
    def forward(self, images: Tensor) -> Tensor:
        return self.net((images * 4).round() / 4)


class Detached(Wrapped):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).detach()


class DetachedFeatures(Wrapped):
    """A head that learns, on features that do not."""

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images.detach() * 2)


class Exploding(Wrapped):
    def forward(self, images: Tensor) -> Tensor:
        return self.net(torch.sqrt(images * 0))


class Purified(Wrapped):
    """Moves the image along a gradient of its own before it answers."""

    def forward(self, images: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = images.detach().requires_grad_()
            (step,) = torch.autograd.grad(self.net(leaf).square().sum(), leaf)
        return self.net(images - 0.01 * step)


class Backwards(Wrapped):
    def forward(self, images: Tensor) -> Tensor:
        with torch.enable_grad():
            self.net(images.detach().requires_grad_()).sum().backward()
        return self.net(images)


def test_a_healthy_network_shows_nothing() -> None:
    assert symptoms(plain(), IMAGES, LABELS, CPU) == HEALTHY


@pytest.mark.parametrize(
    ("network", "sign", "value"),
    [
        (Random, "randomised", 100.0),
        (Softmax, "probabilities", 1.0),
        (Rounded, "zero_gradient", 100.0),
        (Detached, "zero_gradient", 100.0),
        (DetachedFeatures, "zero_gradient", 100.0),
        (Exploding, "zero_gradient", 100.0),
        (Purified, "gradient_in_forward", 1.0),
        (Backwards, "gradient_in_forward", 1.0),
    ],
)
def test_a_sign_fires_and_no_other(network: type[Wrapped], sign: str, value: float) -> None:
    assert symptoms(network().eval(), IMAGES, LABELS, CPU) == {**HEALTHY, sign: value}


class DarkOnly(Wrapped):
    """No gradient for bright images."""

    def forward(self, images: Tensor) -> Tensor:
        bright = images.mean((1, 2, 3), keepdim=True) > 0.5
        return self.net(torch.where(bright, images.round(), images))


def test_images_of_the_whole_set_are_looked_at() -> None:
    """Of a set that is sorted by class, the first ones would all be of one."""
    images = torch.cat(
        [IMAGES[:1].expand(90, -1, -1, -1) // 2, 255 - IMAGES[:1].expand(30, -1, -1, -1) // 2]
    )
    found = symptoms(DarkOnly().eval(), images, torch.arange(120) // 90, CPU)
    assert found["zero_gradient"] == 25


class OfTheBatch(Wrapped):
    """Answers by how an image differs from the others of its batch."""

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images - images.mean(0))


def test_answers_that_depend_on_the_batch_are_told() -> None:
    with pytest.warns(
        UserWarning, match=r"depend on the batch: \d+ of 20 images get another class"
    ):
        assert symptoms(OfTheBatch().eval(), IMAGES, LABELS, CPU) == HEALTHY
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        symptoms(plain(), IMAGES, LABELS, CPU)
        symptoms(Random().eval(), IMAGES, LABELS, CPU)  # that is a sign of its own


def test_the_network_and_the_generators_are_left_alone() -> None:
    network = Backwards().eval()
    before = torch.get_rng_state()
    symptoms(network, IMAGES, LABELS, CPU)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.autograd.grad.__module__ == "torch.autograd"
