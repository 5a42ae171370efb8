"""What a network does to the image itself goes over to its inversion."""

from __future__ import annotations

import copy

import nets
import pytest
import torch
from torch import Tensor, nn

import arches
from arches.inversion.network import InvertedNetwork

VARIANTS = ["td", "td_uni", "td_rev"]


class Normalise(nn.Module):
    """Mean and deviation of each channel, as buffers or as frozen parameters."""

    def __init__(self, parameters: bool = False) -> None:
        super().__init__()
        for name, value in (("mean", 0.4), ("std", 0.25)):
            values = torch.tensor([value, 2 * value, 3 * value]).view(1, 3, 1, 1)
            if parameters:
                self.register_parameter(name, nn.Parameter(values, requires_grad=False))
            else:
                self.register_buffer(name, values)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Front(nn.Module):
    """A network behind a front."""

    def __init__(self, front: nn.Module) -> None:
        super().__init__()
        self.front = front
        self.net = nets.residual(3, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(self.front(x))
        return out


class Inline(Normalise):
    """The same in its own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nets.residual(3, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(super().forward(x))
        return out


class Stem(nn.Module):
    """It normalises inside of the module that convolves."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(2 * x - 1)
        return out


class Noise(nn.Module):
    """Noise on the image in training."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) if self.training else x


FRONTS = {
    "buffers": (lambda: Front(Normalise()), "Normalise"),
    "parameters": (lambda: Front(Normalise(parameters=True)), "Normalise"),
    "sequential": (lambda: nn.Sequential(Normalise(), *nets.residual(3, 10)), "Normalise"),
    "by functions": (Inline, "sub, truediv"),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", FRONTS)
def test_a_normalisation_goes_over(name: str, variant: str) -> None:
    make, operation = FRONTS[name]
    network = arches.invert(make(), variant, image_size=64).eval()
    assert isinstance(network, InvertedNetwork)
    assert network.front is not None
    assert network.front.operation == operation
    assert list(network.remarks()) == []
    assert network.stages.reductions == (2, 4, 8)
    x = torch.rand(2, 3, 64, 64)
    normalised = Normalise()(x)
    assert torch.equal(network.front(x), normalised)
    without = copy.deepcopy(network)
    without.front = None
    assert torch.equal(network(x), without(normalised))
    images = [x, x.flip(0), x.flip(-1)]
    expected = without.forward_scales([Normalise()(image) for image in images])
    assert torch.equal(network.forward_scales(images), expected)


def test_it_has_a_row_of_its_own() -> None:
    found = arches.describe(Front(nn.BatchNorm2d(3)), "td", image_size=32)
    assert (found.rows[0].name, found.rows[0].operation) == ("front", "BatchNorm2d")
    assert found.rows[0].parameters == 6
    assert sum(row.parameters for row in found.rows) == found.totals.parameters


def test_statistics_of_the_image_are_counted_once_in_a_pass() -> None:
    network = arches.invert(Front(nn.BatchNorm2d(3)), "td", image_size=32).train()
    network(torch.rand(2, 3, 32, 32))
    [count] = [v for n, v in network.named_buffers() if n == "front.parts.0.num_batches_tracked"]
    assert int(count) == 1


def test_noise_on_the_image_stays_noise_in_training() -> None:
    network = arches.invert(Front(Noise()), "td", image_size=32)
    assert isinstance(network, InvertedNetwork)
    assert network.front is not None
    x = torch.rand(2, 3, 32, 32)
    assert not torch.equal(network.front.train()(x), x)
    assert torch.equal(network.front.eval()(x), x)


def test_what_cannot_go_over_is_said() -> None:
    model = nets.residual(3, 10)
    model[0] = Stem()
    network = arches.invert(model, "td", image_size=32)
    assert isinstance(network, InvertedNetwork)
    assert network.front is None
    assert list(network.remarks()) == [
        "bu changes the image before its first layer, which is lost: put that into a module of its "
        "own"
    ]


def test_a_network_that_reads_the_image_as_it_is_has_no_front() -> None:
    network = arches.invert(Front(nn.Identity()), "td", image_size=32)
    assert isinstance(network, InvertedNetwork)
    assert network.front is None
    assert list(network.remarks()) == []


class Cosine(nn.Module):
    """Compares what it has found with weights of its own, not of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = Normalise()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.weight = nn.Parameter(torch.randn(10, 16))

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(self.norm(x)))
        return nn.functional.linear(x.mean((2, 3)), self.weight)


def test_weights_of_the_network_itself_do_not_count_as_its_first_layer() -> None:
    network = arches.invert(Cosine(), "td", 3, 10, 32)
    assert network.front is not None
    assert "changes the image" not in network.head_note
