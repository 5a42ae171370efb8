"""The norm before the head of models that normalise first, at the end of inverted networks."""

from __future__ import annotations

import nets
import pytest
import torch
from torch import Tensor, nn

import arches
from arches.inversion.ending import read_ending
from arches.inversion.network import InvertedNetwork
from arches.inversion.stages import Stage, Stages


def normalised_last() -> nn.Module:
    """Stages at 1/2, 1/4, 1/8, then a norm and an activation."""
    *body, pool, flatten, dense = nets.residual(3, 10)
    return nn.Sequential(*body, nn.BatchNorm2d(32), nn.ReLU(inplace=True), pool, flatten, dense)


@pytest.mark.parametrize(("variant", "width"), [("td", 8), ("td_uni", 16), ("td_rev", 32)])
def test_it_has_the_width_of_the_finest_stage(variant: str, width: int) -> None:
    assert arches.stages(normalised_last()).tail == ("6", "7")
    network = arches.invert(normalised_last(), variant)
    assert isinstance(network, InvertedNetwork)
    assert network.head.ending is not None
    [norm] = [m for m in network.head.ending.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norm.num_features == width
    seen: list[Tensor] = []
    network.head.ending.register_forward_hook(lambda _m, _i, out: seen.append(out))
    network.train()(torch.rand(4, 3, 64, 64))
    # Of a standard normal distribution, the mean of the positive half and nothing.
    assert float(seen[0].detach().mean()) == pytest.approx(0.4, abs=0.1)
    assert float(seen[0].detach().min()) == 0


def test_a_merge_at_the_end_needs_none() -> None:
    network = arches.invert(normalised_last(), "td", finest=1)
    assert isinstance(network, InvertedNetwork)
    assert network.head.ending is None


def test_models_without_it_get_none() -> None:
    network = arches.invert(nets.residual(3, 10), "td")
    assert isinstance(network, InvertedNetwork)
    assert network.head.ending is None


class Axes(nn.Module):
    """Another order of axes, as before a pool."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


@pytest.mark.parametrize("width", [6, 12, 24])
def test_layouts_and_what_is_no_norm(width: int) -> None:
    model = nn.Sequential(nn.Identity(), nn.LayerNorm(12), Axes(), nn.BatchNorm2d(12))
    stages = Stages((Stage(4, 12, 12, (), out_layout="nhwc"),), tail=("0", "1", "2", "3"))
    with torch.no_grad():
        model[1].weight.fill_(2.0)
    ending = read_ending(model, stages, width)
    assert ending is not None
    [norm] = ending.parts
    assert isinstance(norm, nn.LayerNorm)
    out = ending(torch.randn(2, width, 5, 5))
    assert out.shape == (2, width, 5, 5)
    assert torch.allclose(out.mean(1), torch.zeros(2, 5, 5), atol=1e-5)
    assert model[1].normalized_shape == (12,)


def test_where_the_last_stage_stays_the_last_its_weights_stay() -> None:
    model = normalised_last()
    nn.init.uniform_(model[6].weight)
    network = arches.invert(model, "td_rev", reading="baseline", init="from_bu")
    assert isinstance(network, InvertedNetwork)
    assert network.head.ending is not None
    assert torch.equal(network.head.ending.parts[0].weight, model[6].weight)
