"""Which maps there are to explain, and what happens where there are none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from explained_networks import (
    MIXER,
    SWIN,
    VIT,
    PlainTokens,
    foreign,
    images,
    mlp,
    paper,
    plain_cnn,
    seeded,
    wrapped,
)
from torch import Tensor, nn

from bench.errors import BenchError, UnknownNameError
from bench.explain.cam import heatmaps
from bench.explain.feature_maps import find_layers, frame_of, layer_names
from bench.explain.layout import Frame, TokenGrid


def acts(count: int) -> tuple[str, ...]:
    return tuple(f"act_{number}" for number in range(1, count + 1))


def blocks(count: int, norm: str = "norm1") -> tuple[str, ...]:
    return tuple(f"model.blocks.{number}.{norm}" for number in range(count))


def one_relu() -> nn.Module:
    """An activation that runs at both resolutions, and so is the last map of none."""
    relu = nn.ReLU()
    first, second = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
    return seeded(
        lambda: nn.Sequential(
            first,
            relu,
            nn.MaxPool2d(2),
            second,
            relu,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 3),
        )
    )


TABLE: dict[str, tuple[Callable[[], nn.Module], Tensor, tuple[str, ...]]] = {
    "lenet_fc bu": (lambda: paper("lenet_fc", "bu"), images(2, 1, 28), acts(4)),
    "nin_light td": (lambda: paper("nin_light", "td"), images(2, 1, 28), acts(4)),
    "nin bu": (lambda: paper("nin", "bu", 3), images(2, 3, 32), acts(4)),
    "resnet32 td_rev": (lambda: paper("resnet32", "td_rev", 3), images(2, 3, 32), acts(4)),
    "resnet18 bu": (lambda: paper("resnet18_half", "bu", 3), images(2), acts(5)),
    "resnet10t": (lambda: foreign("timm/resnet10t"), images(), acts(4)),
    "resnet10t td": (lambda: foreign("timm/resnet10t", "td"), images(), acts(4)),
    "resnet10t at 32": (lambda: foreign("timm/resnet10t", side=32), images(2, 3, 32), acts(3)),
    "convnext": (lambda: foreign("timm/convnext_atto"), images(), acts(4)),
    "swin": (
        lambda: foreign("timm/swin_tiny_patch4_window7_224", **SWIN),
        images(),
        acts(4),
    ),
    "squeezenet": (lambda: foreign("torchvision/squeezenet1_1"), images(), acts(3)),
    "vit": (lambda: foreign("timm/vit_tiny_patch16_224", **VIT), images(), blocks(3)),
    "deit": (lambda: foreign("timm/deit_tiny_distilled_patch16_224", **VIT), images(), blocks(3)),
    "mixer": (lambda: foreign("timm/mixer_s32_224", **MIXER), images(), blocks(8)),
    "plain": (plain_cnn, images(2, 1, 12), ("1", "4")),
    "one relu for all": (one_relu, images(2, 1, 12), ("0", "3")),
}


@pytest.mark.parametrize("name", TABLE)
def test_maps_and_heatmaps_of_all_kinds_of_networks(name: str) -> None:
    make, x, expected = TABLE[name]
    network = make()
    assert layer_names(network, x) == expected
    assert layer_names(wrapped(network), x) == expected
    for layers, names in (("all", expected), (("last",), expected[-1:]), (expected[:1],) * 2):
        found = heatmaps(wrapped(network), x, method="hires-cam", layers=layers)
        assert tuple(found.maps) == tuple(found.undefined) == names
        for heat, undefined in zip(found.maps.values(), found.undefined.values(), strict=True):
            assert heat.shape == (2, *x.shape[2:])
            assert heat.dtype == torch.float32
            assert 0 <= heat.min() <= heat.max() <= 1
            assert (heat.flatten(1).amax(1) > 0.9).tolist() == (~undefined).tolist()
    assert not found.undefined[expected[0]].any()


@pytest.mark.parametrize("name", ["lenet_fc bu", "resnet10t td", "swin", "resnet18 bu"])
def test_named_maps_are_those_of_forward_features(name: str) -> None:
    make, x, expected = TABLE[name]
    network = make()
    with torch.no_grad():
        features = network.forward_features(x)  # type: ignore[operator]
    frame = frame_of(network, x)
    kept: dict[str, Tensor] = {}
    for layer in find_layers(network, x, "all"):
        layer.module.register_forward_hook(
            lambda _m, _i, out, layer=layer: kept.update(
                {layer.name: frame.as_map([out], layer.layout)}
            )
        )
    with torch.no_grad():
        network(x)
    assert tuple(kept) == expected
    for layer_name, value in kept.items():
        assert torch.equal(value, features[layer_name])


def test_a_path_names_any_module() -> None:
    network, x = paper("nin_light", "bu"), images(2, 1, 28)
    found = heatmaps(network, x, layers=("positions.0", "act_1", "positions.0.layers.0"))
    assert tuple(found.maps) == ("positions.0", "act_1", "positions.0.layers.0")
    assert torch.equal(found.maps["positions.0"], found.maps["act_1"])
    assert not torch.equal(found.maps["positions.0"], found.maps["positions.0.layers.0"])


def test_layers_come_once_in_the_order_asked_for() -> None:
    network, x = paper("nin_light", "bu"), images(2, 1, 28)
    names = [one.name for one in find_layers(network, x, ("act_2", "last", "act_2", "all"))]
    assert names == ["act_2", "act_4", "act_1", "act_3"]


def test_torchvisions_vit_is_read_too() -> None:
    from torchvision.models import VisionTransformer

    network = seeded(lambda: VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=4))
    x = images(2, 3, 32)
    names = tuple(f"encoder.layers.encoder_layer_{number}.ln_1" for number in range(2))
    assert layer_names(network, x) == names
    assert frame_of(network, x).grid == TokenGrid(1, 4, 4)
    assert not heatmaps(network, x).undefined[names[-1]].any()


def test_a_grid_for_each_size_of_image() -> None:
    import timm

    network = seeded(
        lambda: timm.create_model(
            "vit_tiny_patch16_224", num_classes=4, dynamic_img_size=True, **VIT["model"]
        )
    )
    x = images(2, 3, 64, 96)
    assert frame_of(network, x).grid == TokenGrid(1, 4, 6)
    assert heatmaps(network, x, layers="last").maps["blocks.2.norm1"].shape == (2, 64, 96)


def test_an_mlp_has_no_map() -> None:
    with pytest.raises(BenchError, match=r"Sequential has no spatial feature map .* 1: N x 16"):
        heatmaps(mlp(), images(2, 1, 12))


def test_tokens_of_unknown_places_are_refused() -> None:
    network, x = seeded(PlainTokens), images(2, 1, 16)
    with pytest.raises(BenchError, match=r"PlainTokens works on tokens .*norm: N x 16 x 8"):
        layer_names(network, x)
    with pytest.raises(BenchError, match=r"layer 'norm' gives 2 x 16 x 8 .*not a map"):
        heatmaps(network, x, layers="norm")
    assert heatmaps(network, x, layers="embed").maps["embed"].shape == (2, 16, 16)


def test_a_module_that_gives_a_number_is_no_map() -> None:
    class Temperature(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log = nn.Parameter(torch.tensor(0.3))

        def forward(self) -> Tensor:
            return self.log.exp()

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.temperature = plain_cnn(), Temperature()

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.body(x) * self.temperature()
            return logits

    network, x = seeded(Scaled), images(2, 1, 12)
    assert layer_names(network, x) == ("body.1", "body.4")
    assert tuple(heatmaps(network, x).maps) == ("body.4",)
    with pytest.raises(BenchError, match=r"layer 'temperature' gives a number .*not a map"):
        heatmaps(network, x, layers="temperature")


def test_what_gives_maps_of_several_sizes_leaves_the_place_to_its_parts() -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine, self.coarse = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, 2)

        def forward(self, x: Tensor) -> list[Tensor]:
            fine = self.fine(x)
            return [fine, self.coarse(fine)]

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pyramid, self.head = Pyramid(), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(torch.cat([m.mean((2, 3)) for m in self.pyramid(x)], 1))
            return logits

    network, x = seeded(Both), images(2, 1, 12)
    names = ("pyramid.fine", "pyramid.coarse")
    assert layer_names(network, x) == names
    assert tuple(heatmaps(network, x, layers="all").maps) == names


def test_unknown_layers_are_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="'act_9'; there are act_1, act_2, act_3, act_4 "):
        heatmaps(paper("nin_light", "bu"), images(2, 1, 28), layers=("last", "act_9"))
    with pytest.raises(UnknownNameError, match="'conv'; there are 1, 4 "):
        heatmaps(plain_cnn(), images(2, 1, 12), layers="conv")
    with pytest.raises(BenchError, match="no layer"):
        heatmaps(plain_cnn(), images(2, 1, 12), layers=())


def test_a_map_of_one_pixel_shows_no_place() -> None:
    network, x = foreign("timm/resnet10t", side=32), images(2, 3, 32)
    with pytest.raises(BenchError, match="'act_4' is 1 x 1 for images of 32 x 32"):
        heatmaps(network, x, layers="act_4")


@pytest.mark.parametrize(
    ("shape", "layout", "sides"),
    [
        ((2, 96, 7, 7), "", (7, 7)),
        ((2, 7, 7, 96), "", (7, 7)),
        ((2, 7, 7, 8), "", (7, 7)),
        ((2, 7, 7, 7), "nhwc", (7, 7)),
        ((2, 5, 7, 14), "", (7, 14)),
        ((2, 7, 14, 5), "", (7, 14)),
        ((2, 14, 7, 14), "nhwc", (14, 7)),
        ((2, 9, 5), "", (2, 4)),
        ((2, 8, 5), "", (2, 4)),
        ((2, 10, 5), "", None),
        ((2, 10), "", None),
    ],
)
def test_sides_of_a_map(shape: tuple[int, ...], layout: str, sides: tuple[int, int] | None) -> None:
    wide = 14 in shape
    frame = Frame((56, 112) if wide else (56, 56), TokenGrid(1, 2, 4))
    assert frame.sides(shape, layout) == sides


def test_tokens_become_rows_of_patches() -> None:
    tokens = torch.arange(2 * 7 * 3).reshape(2, 7, 3).float()
    found = Frame((32, 48), TokenGrid(1, 2, 3)).as_map([tokens], "")
    assert found.shape == (2, 3, 2, 3)
    assert found[1, 2, 1, 0] == tokens[1, 1 + 3, 2]


def test_parts_of_a_list_are_channels_of_one_map() -> None:
    class Split(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [x[:, :2], x[:, 2:]]

    class Join(nn.Module):
        def forward(self, parts: list[Tensor]) -> Tensor:
            return torch.cat(parts, dim=1)

    cnn = plain_cnn()
    split = nn.Sequential(*cnn[:4], Split(), Join(), *cnn[4:]).eval()
    x = images(2, 1, 12)
    for method in ("paper", "layer-cam"):
        whole = heatmaps(cnn, x, method=method, layers="3").maps["3"]
        parts = heatmaps(split, x, method=method, layers="4").maps["4"]
        assert torch.allclose(whole, parts, atol=1e-6)
