"""Other widths, drawn by the model's own rule."""

from __future__ import annotations

import nets
import pytest
import torch
from torch import nn

import arches
from arches.inversion.initial import draw_like, read_law


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "regnet_x_400mf"])
def test_uniform_width(name: str) -> None:
    network = arches.invert(f"torchvision/{name}", "td_uni", width=48)
    assert isinstance(network, arches.inversion.network.InvertedNetwork)
    assert all(abs(width - 48) <= 8 for width in network.widths.values())
    assert set(network.wanted_widths.values()) == {48}


def test_reversed_widths_are_widest_at_the_finest_resolution() -> None:
    network = arches.invert("torchvision/resnet18", "td_rev")
    assert network.widths == {32: 64, 16: 128, 8: 256, 4: 512}
    assert network.widths == network.wanted_widths


def test_the_baseline_reading_keeps_the_stages_and_their_weights() -> None:
    torch.manual_seed(0)
    network = arches.invert("torchvision/resnet18", "td_rev", reading="baseline")
    assert network.widths == {32: 64, 16: 128, 8: 256, 4: 512}
    assert [position.stage.paths[0] for position in network.positions] == [
        "layer1.0",
        "layer2.0",
        "layer3.0",
        "layer4.0",
    ]


@pytest.mark.parametrize("rule", ["in", "out", "none"])
def test_the_law_is_read_off_fresh_weights(rule: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Conv2d(a, b, 3) for a, b in ((8, 64), (64, 16), (16, 128))))
    for conv in model:
        if rule == "none":
            nn.init.trunc_normal_(conv.weight, std=0.02)
        else:
            nn.init.kaiming_normal_(conv.weight, mode=f"fan_{rule}")
    assert read_law(model).fans == {"Conv2d": rule}


def test_redrawn_weights_have_the_spread_of_the_rule() -> None:
    torch.manual_seed(0)
    plain = arches.invert("torchvision/resnet18", "td")
    wide = arches.invert("torchvision/resnet18", "td_rev")
    own, other = plain.positions[-1].stage.parts[0].conv1, wide.positions[-1].stage.parts[0].conv1
    assert own.weight.shape[0] == 64
    assert other.weight.shape[0] == 512
    ratio = float((own.weight.std() / other.weight.std()).detach())
    assert ratio == pytest.approx(8**0.5, rel=0.05)  # He, by fan-out


def test_draw_like_keeps_constants_and_shapes_of_distributions() -> None:
    assert torch.equal(draw_like(torch.ones(4), (7,)), torch.ones(7))
    flat = draw_like(torch.rand(1000) - 0.5, (1000,))
    assert float(flat.abs().max()) < 0.55
    bell = draw_like(torch.randn(1000), (1000,))
    assert float(bell.abs().max()) > 2.5


def test_small_networks_take_any_width() -> None:
    network = arches.invert(nets.residual(3, 10), "td_uni", width=12)
    assert set(network.widths.values()) == {12}
