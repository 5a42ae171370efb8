"""Other widths, drawn by the model's own rule."""

from __future__ import annotations

from collections.abc import Callable

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


class Heads(nn.Module):
    """Attention with numbers in code that widths are tied to, and with one value per distance."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = 4, width // 4
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.linear = nn.Conv2d(width, 2 * width + 1, 1)
        self.embed_dim = width
        self.attention_biases = nn.Parameter(torch.zeros(4, width))
        self.register_buffer("places", torch.arange(64) % width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, _, height, width = x.shape
        q, k, v = self.qkv(x).reshape(count, 3, self.num_heads, self.head_dim, -1).unbind(1)
        places = self.places[: height * width]
        scores = q.transpose(2, 3) @ k + self.attention_biases[:, places][:, None]
        out = (v @ scores.softmax(-1).transpose(2, 3)).reshape(x.shape)
        score, key, value = self.linear(out).split([1, self.embed_dim, self.embed_dim], dim=1)
        mixed: torch.Tensor = x + value * (key * score.sigmoid()).mean((2, 3), keepdim=True)
        return mixed


@pytest.mark.parametrize(("width", "expected"), [(24, 24), (16, 16), (64, 64)])
def test_heads_stay_as_many_and_tables_as_they_are(width: int, expected: int) -> None:
    stem, norm, *_ = nets.residual(3, 10)
    body = (nets.Block(8, 16, 2), Heads(16), nets.Block(16, 32, 2))
    model = nn.Sequential(stem, norm, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = arches.invert(model, "td_uni", width=width, image_size=32)
    [heads] = [module for module in network.modules() if isinstance(module, Heads)]
    assert network.widths[4] == expected
    assert (heads.num_heads, heads.head_dim) == (4, expected // 4)
    assert heads.attention_biases.shape == (4, 16)
    assert torch.equal(heads.places, torch.arange(64) % 16)


def test_heads_that_do_not_divide_take_the_nearest_width() -> None:
    model = nn.Sequential(
        *nets.residual(3, 10)[:2],
        nets.Block(8, 16, 2),
        Heads(16),
        nets.Block(16, 32, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    network = arches.invert(model, "td_uni", width=26, image_size=32)
    assert network.widths[4] % 4 == 0
    assert abs(network.widths[4] - 26) <= 6


@pytest.mark.parametrize(
    "norm",
    [
        nn.utils.spectral_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.weight_norm,
    ],
)
def test_a_weight_that_is_computed_takes_no_other_width(norm: Callable) -> None:
    model = nn.Sequential(
        norm(nn.Conv2d(3, 8, 3, 1, 1)),
        nn.ReLU(),
        norm(nn.Conv2d(8, 16, 3, 2, 1)),
        nn.ReLU(),
        norm(nn.Conv2d(16, 32, 3, 2, 1)),
        nn.ReLU(),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
    )
    turned = arches.invert(model, "td", image_size=32)
    assert turned.widths == {4: 32, 2: 16}
    assert arches.describe(turned, measured=False).totals.parameters > 0
    for variant in ("td_uni", "td_rev"):
        with pytest.raises(arches.InversionError, match="the weight of a Conv2d is computed"):
            arches.invert(model, variant, image_size=32)
