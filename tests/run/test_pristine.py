"""What a measure does to a network is seen and undone, however it was done."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from bench.models.network import Network, Normalization
from bench.run.pristine import SAMPLED, Pristine


def network() -> Network:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(1, 64, 3), nn.BatchNorm2d(64), nn.Flatten(), nn.Linear(64 * 36, 10)
    )
    still = Normalization(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
    return Network(layers, still, still).eval()


def last(net: Network) -> nn.Linear:
    found = list(net.backbone.modules())[-1]
    assert isinstance(found, nn.Linear)
    return found


@torch.no_grad()
def one_value(net: Network) -> None:
    last(net).weight[3, 5] += 1e-6


def all_by_data(net: Network) -> None:
    last(net).weight.data.mul_(1.001)


def replaced(net: Network) -> None:
    layer = last(net)
    weight = layer.weight.detach().clone()
    weight[0, 1] = 7.0
    layer.weight = nn.Parameter(weight)


def new_data(net: Network) -> None:
    weight = last(net).weight
    weight.data = weight.data.clone().index_fill_(0, torch.tensor([4]), 0.0)


def a_bias_by_data(net: Network) -> None:
    last(net).bias.data[2] = 1.0


def statistics(net: Network) -> None:
    net.train()(torch.rand(4, 1, 8, 8))


@pytest.mark.parametrize(
    "change", [one_value, all_by_data, replaced, new_data, a_bias_by_data, statistics]
)
def test_a_change_is_seen_and_undone(change: Callable[[Network], None]) -> None:
    net = network()
    assert last(net).weight.numel() > SAMPLED, "not every value is compared"
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    pristine = Pristine(net)
    for _ in range(2):
        change(net)
        assert pristine.restore(net)
        state = net.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
        assert not pristine.restore(net)


def test_weights_that_are_no_numbers_are_no_change() -> None:
    net = network()
    with torch.no_grad():
        last(net).bias[3] = last(net).weight[2, 7] = float("nan")
        net.backbone[1].running_var.fill_(float("nan"))  # type: ignore[index, union-attr, operator]
    pristine = Pristine(net)
    assert not pristine.restore(net)
    with torch.no_grad():
        last(net).bias[4] = float("nan")
    assert pristine.restore(net)
    assert last(net).bias.isnan().sum() == 1
    assert not pristine.restore(net)


def test_looking_is_no_change() -> None:
    net = network()
    pristine = Pristine(net)
    images = torch.rand(4, 1, 8, 8, requires_grad=True)
    net(images).sum().backward()
    with torch.no_grad():
        weight = last(net).weight
        weight.copy_(weight.clone())  # counted, but the same values again
    assert not pristine.restore(net)
    assert all(parameter.grad is None for parameter in net.parameters())
