"""Which parameters decay: kernels only, without those that the networks' authors left out."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from train_parts import corner_set

import arches
from bench.models.network import Network, wrap
from bench.suite.recipe import Recipe
from bench.train.optimizer import parameter_groups


def network_of(backbone: nn.Module) -> Network:
    return wrap(backbone, corner_set(), Recipe())


def decayed(backbone: nn.Module) -> tuple[set[str], set[str]]:
    """Names of the parameters that decay, and of those that do not."""
    groups = parameter_groups(network_of(backbone), 0.5)
    name_of = {id(parameter): name for name, parameter in backbone.named_parameters()}
    with_decay, without = groups
    assert (with_decay["weight_decay"], without["weight_decay"]) == (0.5, 0.0)
    found = []
    for group in groups:
        members = group["params"]
        assert isinstance(members, list)
        found.append({name_of[id(parameter)] for parameter in members})
    return found[0], found[1]


def unit_names(network: arches.Network, kernels: set[str]) -> set[str]:
    """The names in the paper's tables of the units that these kernels belong to."""
    names = {f"{path}.conv.weight": unit.name for path, unit in network.units()}
    return {names.get(kernel, kernel) for kernel in kernels}


def kernels_of(network: nn.Module) -> set[str]:
    layers = (nn.Conv2d, nn.Linear)
    return {f"{path}.weight" for path, m in network.named_modules() if isinstance(m, layers)}


@pytest.mark.parametrize(
    ("name", "variant", "left_out"),
    [
        ("lenet_fc", "bu", set()),
        ("lenet_fc", "td", {"in1", "in2", "in4"}),
        ("lenet_fc", "td_uni", {"in1", "in2", "in4"}),
        ("lenet_fc", "td_rev", {"in1", "in2", "in4"}),
        ("nin_light", "bu", set()),
        ("nin_light", "td", set()),
        ("nin", "bu", {"cls"}),
        ("nin", "td", set()),
        ("resnet32", "bu", set()),
        ("resnet32", "td", set()),
    ],
)
def test_the_papers_networks(name: str, variant: str, left_out: set[str]) -> None:
    network = arches.create(name, variant, in_chans=1)
    kernels, others = decayed(network)
    every = kernels_of(network)
    assert kernels | others == {name for name, _ in network.named_parameters()}
    assert not kernels & others
    assert kernels <= every, "no bias, nothing of batch normalisation"
    assert unit_names(network, every - kernels) == left_out


def test_normalisation_and_biases_of_any_shape_do_not_decay() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(1, 4, 3)
            self.norm = nn.LayerNorm([4, 10, 10])
            self.group = nn.GroupNorm(2, 4)
            self.position_bias = nn.Parameter(torch.zeros(1, 4, 10, 10))
            self.head = nn.Linear(4, 2)

    kernels, _ = decayed(Odd())
    assert kernels == {"embed.weight", "head.weight"}


def test_frozen_parameters_are_in_no_group() -> None:
    backbone = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 2))
    backbone[0].requires_grad_(False)
    kernels, others = decayed(backbone)
    assert (kernels, others) == ({"2.weight"}, {"2.bias"})


def test_a_shared_parameter_is_in_one_group_once() -> None:
    backbone = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    backbone[1].weight = backbone[0].weight
    kernels, others = decayed(backbone)
    assert (kernels, others) == ({"0.weight"}, {"0.bias", "1.bias"})


def test_a_plugins_own_exceptions_count() -> None:
    class Exempting(nn.Linear):
        def no_weight_decay(self) -> set[str]:
            return {"weight"}

    assert decayed(Exempting(3, 2)) == (set(), {"weight", "bias"})
