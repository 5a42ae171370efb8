"""Efficiency figures against the paper's tables, arithmetic by hand and torch's own counter."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from measure_parts import context, first_pixels
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import arches
from bench.data.embedded import fashion_mnist_mini
from bench.measures import base, efficiency
from bench.measures.efficiency import Options

QUICK = Options(batch_size=4, seconds=0.01)


def figures(backbone: nn.Module, options: Options = QUICK, side: int = 28) -> dict[str, float]:
    dataset = fashion_mnist_mini(Path()) if side == 28 else first_pixels([0, 1], [0, 1], side)
    found = efficiency.run(context(dataset, backbone, options))
    assert isinstance(found, base.Found)
    return dict(found.metrics)


def conv(side: int, kernel: int, wide_in: int, wide_out: int) -> int:
    """Two operations per multiply-add of a convolution with as many outputs as inputs."""
    return 2 * side**2 * kernel**2 * wide_in * wide_out


BU = conv(28, 5, 1, 6) + conv(14, 5, 6, 16) + conv(7, 3, 16, 32) + conv(7, 1, 32, 10)
TD = (
    conv(28, 5, 1, 6)  # the stems
    + conv(14, 5, 1, 16)
    + conv(7, 3, 1, 32)
    + conv(7, 1, 32, 16)  # to the middle resolution
    + conv(14, 3, 32, 16)
    + conv(14, 5, 16, 16)
    + conv(14, 1, 16, 6)  # to the full resolution
    + conv(28, 3, 12, 6)
    + conv(28, 5, 6, 6)
    + conv(28, 1, 6, 10)
)


@pytest.mark.parametrize(
    ("variant", "parameters", "flops"), [("bu", 7_670, BU), ("td", 14_452, TD)]
)
def test_lenet_by_hand(variant: str, parameters: int, flops: int) -> None:
    network = arches.create("lenet_fc", variant, 1)
    found = figures(network)
    assert found["parameters"] == parameters
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.pyramid([torch.zeros(1, 1, 28, 28)] * len(network.scales))
    scales = counter.get_total_flops()
    assert scales == 0 if variant == "bu" else 0 < scales < 0.05 * flops
    assert found["flops"] == flops + scales
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 1, 28, 28))
    assert found["flops"] == counter.get_total_flops()


def test_a_linear_network_by_hand() -> None:
    found = figures(nn.Sequential(nn.Flatten(), nn.Linear(9, 4)), side=3)
    assert found["parameters"] == 40
    assert found["flops"] == 2 * 9 * 4


def test_frozen_parameters_do_not_count() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.Linear(4, 2))
    network[1].requires_grad_(False)
    assert figures(network, side=3)["parameters"] == 10


def test_training_memory_by_hand() -> None:
    """Most is held while the images are normalised: minus the mean, then by the deviation."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 4))
    found = figures(network, Options(batch_size=1000, seconds=0.01), side=3)
    weights, statistics, images = 4 * 40, 4 * 2, 4 * 1000 * 9
    assert found["train_memory"] == 2 * images + weights + statistics


def test_training_memory_grows_with_the_batch_and_is_the_same_each_time() -> None:
    network = arches.create("lenet_fc", "td", 1)
    sizes = [
        figures(network, Options(batch_size=size, seconds=0.01))["train_memory"]
        for size in (8, 8, 16)
    ]
    assert sizes[0] == sizes[1]
    assert 1.8 < sizes[2] / sizes[0] < 2


def test_flops_are_of_one_image() -> None:
    network = arches.create("lenet_fc", "bu", 1)
    small, large = (
        figures(network, Options(batch_size=size, seconds=0.01))["flops"] for size in (1, 9)
    )
    assert small == large


class Slow(nn.Module):
    """Takes 10 ms for a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(9, 4)
        self.gradients = set[bool]()

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            self.gradients.add(torch.is_grad_enabled())
        time.sleep(0.01)
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def test_images_per_second_of_a_network_of_known_speed() -> None:
    network = Slow()
    found = figures(network, Options(batch_size=20, seconds=0.1), side=3)
    assert 500 < found["images_per_second"] <= 2000
    assert network.gradients == {False}


def test_the_network_is_left_as_it_was() -> None:
    network = arches.create("lenet_fc", "td", 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    figures(network)
    assert not network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_every_figure_has_a_column() -> None:
    measure = base.load("efficiency")
    assert measure.exclusive, "timings share the machine with nobody"
    found = figures(nn.Sequential(nn.Flatten(), nn.Linear(9, 4)), side=3)
    assert set(found) == set(measure.metrics)


@pytest.mark.parametrize(
    "given", [{"batch_size": 0}, {"seconds": 0}, {"batch_size": 2.5}, {"batchsize": 3}]
)
def test_options_are_checked(given: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate(given)
