"""Adapters: families whose units exchange tokens, lists or pairs, read as chains of maps."""

from __future__ import annotations

import importlib.util
from typing import Any

import nets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import arches
from arches.inversion.adapters import Body, Rewriting, adapt, hiera, registry, tokens
from arches.inversion.network import InvertedNetwork
from arches.inversion.read import read_stages

timm_only = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs timm")

# Name, keywords of its factory, side of the image; families in which any size will do are given a
# small one, the others are built for it.
QUICK = [
    ("levit_128s", {"img_size": 64}, 64),
    ("efficientvim_m1", {}, 128),
    ("pit_ti_224", {"img_size": 64}, 64),
    ("coat_lite_tiny", {"img_size": 64}, 64),
    ("visformer_tiny", {"img_size": 64}, 64),
]
LONG = [
    ("pit_ti_distilled_224", {"img_size": 64}, 64),
    ("efficientformer_l1", {}, 224),
    ("twins_svt_small", {"img_size": 64}, 64),
    ("twins_pcpvt_small", {"img_size": 64}, 64),
    ("mvitv2_tiny", {"img_size": 64}, 64),
    ("mvitv2_small_cls", {"img_size": 64}, 64),
    ("hiera_tiny_224", {"img_size": 64}, 64),
    ("hiera_small_abswin_256", {}, 256),
    ("sam2_hiera_tiny", {}, 224),
    ("nasnetalarge", {}, 64),
    ("pnasnet5large", {}, 64),
]
ALL = [
    *(pytest.param(*row, id=row[0]) for row in QUICK),
    *(pytest.param(*row, id=row[0], marks=pytest.mark.slow) for row in LONG),
]


def uneven(name: str, options: dict[str, Any]) -> nn.Module:
    """A model in which nothing is zero, so that nothing can be left out unseen."""
    import timm

    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name, num_classes=10, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return model.eval()


@timm_only
@pytest.mark.parametrize(("name", "options", "side"), ALL)
def test_chains_give_the_maps_that_the_library_gives(
    name: str, options: dict[str, Any], side: int
) -> None:
    model: Any = uneven(name, options)
    images = torch.randn(1, 3, side, side)
    with torch.no_grad():
        _, own = model.forward_intermediates(images)
        made = adapt(model, 3, (side,)).eval()
        seen: dict[str, Tensor] = {}
        stages = read_stages(made, 3, side, side).stages
        for stage in stages:
            made.get_submodule(stage.modules[-1]).register_forward_hook(
                lambda _m, _i, out, path=stage.modules[-1]: seen.update({path: out})
            )
        made(images)
    compared = 0
    for stage in stages:
        found = seen[stage.modules[-1]]
        if stage.out_layout == "nhwc":
            found = found.permute(0, 3, 1, 2)
        for expected in own:
            if expected.shape[2:] == found.shape[2:]:
                # Channels beyond those of the map carry class tokens, or the older map of a pair.
                ends = found[:, : expected.shape[1]], found[:, -expected.shape[1] :]
                assert any(close(end, expected) or close(end.relu(), expected) for end in ends)
                compared += 1
    assert compared >= 3


def close(a: Tensor, b: Tensor) -> bool:
    """Within the tolerance of the product."""
    return bool((a - b).abs().max() <= 1e-5 * max(1, b.abs().max()))


@timm_only
@pytest.mark.parametrize(("name", "options", "side"), ALL)
def test_they_run_coarse_to_fine(name: str, options: dict[str, Any], side: int) -> None:
    size = 224 if name == "efficientformer_l1" else 64
    network = arches.invert(f"timm/{name}", "td", num_classes=7, image_size=size)
    maps = network.forward_features(torch.randn(2, 3, size, size))
    sides = [maps[key].shape[-1] for key in network.feature_names]
    assert sides == sorted(set(sides))
    assert maps["logits"].shape == (2, 7)
    # Of all of them only Levit spares these, and its parameters have moved.
    biases = {n for n, _ in network.named_parameters() if "attention_biases" in n}
    assert not name.startswith("levit") or network.no_weight_decay() == biases != set()


@timm_only
@pytest.mark.parametrize("name", ["hrnet_w18_small", "crossvit_tiny_240", "coat_tiny"])
def test_what_runs_side_by_side_has_no_order(name: str) -> None:
    with pytest.raises(arches.InversionError, match="no order to reverse") as caught:
        arches.invert(f"timm/{name}", "td")
    assert caught.value.reason == "parallel resolutions"


class Pair(nn.Module):
    """Convolutions that hand on the map as it was and as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, 2, 1) for _ in range(2))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [x]
        for conv in self.convs:
            maps.append(conv(maps[-1]) + maps[0].mean())
        return maps


class Paired(nn.Module):
    """A network around such a module."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pair = nn.Conv2d(3, 8, 3, 2, 1), Pair()
        self.head = nn.Linear(8, 10)

    def forward_features(self, x: Tensor) -> Tensor:
        out: Tensor = self.pair(self.stem(x))[-1]
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.forward_features(x).mean((2, 3)))
        return out


def leaves_something_out(model: Any) -> Rewriting:
    first, second = model.pair.convs
    return Rewriting(Body({"stem": model.stem, "body.0": first, "body.1": second}))


def changes_the_model(model: Any) -> None:
    model.pair.convs = model.pair.convs[:1]


@pytest.mark.parametrize("adapter", [leaves_something_out, changes_the_model])
def test_an_adapter_that_changes_the_features_is_refused(
    adapter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._ADAPTERS, "Paired", adapter)
    with pytest.raises(arches.InversionError) as caught:
        arches.invert(Paired(), "td")
    assert caught.value.reason == "not faithful"


@given(
    counts=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)),
    strides=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=3),
)
def test_sorted_tokens_come_back(
    counts: tuple[int, int, int, int], strides: list[tuple[int, int]]
) -> None:
    images, channels, height, width = counts
    for down, right in strides:
        height, width = height * down, width * right
    x = torch.rand(images, channels, height, width)
    rows = hiera.sort_tokens(x, strides)
    assert rows.shape == (images, height * width, channels)
    assert torch.equal(hiera.unsort_tokens(rows, strides, (height, width)), x)


@given(classes=st.integers(0, 3), height=st.integers(1, 5), width=st.integers(1, 5))
def test_class_tokens_travel_with_the_map(classes: int, height: int, width: int) -> None:
    x, own = torch.rand(2, 4, height, width), torch.rand(2, classes, 4)
    packed = tokens.with_classes(x, own)
    rows = tokens.to_tokens(packed, classes)
    assert torch.allclose(rows[:, :classes], own)
    assert torch.equal(rows[:, classes:], x.flatten(2).transpose(1, 2))
    assert torch.allclose(tokens.to_map(rows, (height, width), classes), packed)
    with pytest.raises(RuntimeError):
        tokens.to_map(rows, (height + 1, width), classes)


@timm_only
@pytest.mark.parametrize("name", ["test_coatnet", "pit_ti_224"])
def test_bottom_up_models_are_built_for_the_size_asked_for(name: str) -> None:
    plain = arches.invert(f"timm/{name}", "bu", image_size=64)
    assert plain(torch.rand(2, 3, 64, 64)).shape == (2, 10)


@timm_only
def test_bottom_up_models_of_one_size_are_refused_when_they_are_built() -> None:
    with pytest.raises(arches.InversionError, match="takes images of 224 pixels") as caught:
        arches.invert("timm/efficientformer_l1", "bu", image_size=64)
    assert caught.value.reason == "fixed size"


def test_bottom_up_models_give_the_logits_asked_for() -> None:
    with pytest.raises(arches.InversionError, match="not 7 logits") as caught:
        arches.invert(nets.residual(3, 10), "bu", num_classes=7)
    assert caught.value.reason == "logits"


class Gained(nn.Module):
    """A convolution with a gain that no ``reset_parameters`` draws."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_width, width, 3, 2, 1)
        self.norm = nn.BatchNorm2d(width)
        self.gain = nn.Parameter(1 + 0.1 * torch.randn(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(x)) * self.gain
        return out


class Trained(nn.Sequential):
    """A network with a rule of its own for convolutions."""

    def __init__(self) -> None:
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        super().__init__(nn.Conv2d(3, 8, 3), Gained(8, 16), Gained(16, 32), pool)
        with torch.no_grad():
            for norm in (self[1].norm, self[2].norm):
                norm.weight.fill_(3.0)
                norm.running_mean.fill_(5.0)

    def init_weights(self, weight: float = 0.25) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.constant_(module.weight, weight)


def test_trained_instances_are_drawn_anew_by_the_rules_of_the_model() -> None:
    torch.manual_seed(0)
    model = Trained()
    network = arches.invert(model, "td", num_classes=4)
    assert isinstance(network, InvertedNetwork)
    part: Any = network.positions[0].stage.parts[0]  # type: ignore[union-attr]
    assert (part.conv.weight == 0.25).all()
    assert (part.norm.weight == 1).all()
    assert (part.norm.running_mean == 0).all()
    trained: Tensor = model[2].gain
    assert not torch.equal(part.gain, trained)
    assert float(part.gain.detach().std()) == pytest.approx(float(trained.detach().std()), rel=0.4)
    kept: Any = arches.invert(model, "td", num_classes=4, init="from_bu")
    assert torch.equal(kept.positions[0].stage.parts[0].gain, trained)
    assert float(model[2].norm.weight[0]) == 3.0
