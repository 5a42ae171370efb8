"""A perturbation in some of the scale inputs, and the others clean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from measure_parts import context, first_pixels
from torch import Tensor, nn

import arches
from bench.measures import robustness, scales
from bench.measures.base import Context
from bench.suite.schema import AttackRef

PIXELS = first_pixels([0, 51, 102, 255, 204, 153], [0, 0, 1, 1, 1, 0], side=16)


class Watching(nn.Module):
    """Class 1 where the input of the scale `watched` is bright in its first pixel."""

    scale_names = ("high", "medium", "low")

    def __init__(self, watched: str) -> None:
        super().__init__()
        self.watched = watched

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_scales(dict.fromkeys(self.scale_names, images))

    def forward_scales(self, images: dict[str, Tensor]) -> Tensor:
        value = images[self.watched][:, 0, 0, 0].double()
        return torch.stack([torch.full_like(value, 0.5), value, torch.zeros_like(value)], 1)


def run(backbone: nn.Module, name: str = "measure_parts:to_white") -> dict[str, float]:
    ref = AttackRef.model_validate(name)
    task = robustness.Task(ref, "min-l2", 0, 1, 0, 4)
    found = robustness.run(context(PIXELS, backbone, task))
    start = "perturbed_top1["
    return {k[len(start) : -1]: v for k, v in found.metrics.items() if k.startswith(start)}


@pytest.mark.parametrize("watched", ["high", "medium", "low"])
def test_only_the_watched_scale_is_vulnerable(watched: str) -> None:
    """Four of six are right; the two dark ones among them can be made white."""
    table = run(Watching(watched))
    combinations = ["high", "medium", "low", "high+medium", "high+low", "medium+low"]
    assert list(table) == [*combinations, "high+medium+low"]
    for name, accuracy in table.items():
        fooled = watched in name.split("+")
        assert accuracy == pytest.approx(100 * (2 if fooled else 4) / 6), name


def test_networks_with_one_input_have_no_table() -> None:
    assert run(arches.create("lenet_fc", "bu", 1)) == {}


def top_down() -> Context:
    torch.manual_seed(0)
    return context(PIXELS, arches.create("lenet_fc", "td", 1))


def test_all_scales_perturbed_is_the_perturbed_image_and_none_the_clean_one() -> None:
    network = top_down().network
    clean = torch.rand(7, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    other = torch.rand(7, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        labels = network(other).argmax(1)
    table = scales.correct(network, clean, other, labels)
    assert table.shape == (7, len(scales.names(network)))
    assert table[:, -1].all()
    assert np.array_equal(scales.correct(network, other, other, labels).all(1), np.ones(7, bool))


def test_an_attack_on_a_network_of_the_paper_fills_the_table() -> None:
    from pathlib import Path

    from bench.data.embedded import fashion_mnist_mini

    torch.manual_seed(0)
    backbone = arches.create("lenet_fc", "td", 1)
    task = robustness.Task(
        AttackRef.model_validate({"name": "gaussian_blur", "epsilons": 10}), "min-l2", 40, 1, 0, 16
    )
    found = robustness.run(context(fashion_mnist_mini(Path()), backbone, task))
    names = ["+".join(chosen) for chosen in scales._chosen(backbone.scale_names)]
    top1 = [found.metrics[f"perturbed_top1[{name}]"] for name in names]
    clean = found.metrics["clean_top1"]
    success = found.metrics["success_rate"]
    # With all scales perturbed, just those fooled are lost.
    assert top1[-1] == pytest.approx(clean * (1 - success / 100))
    assert all(0 <= value <= clean + 1e-9 for value in top1)
