"""Modules that a model calls more than once in a pass."""

from __future__ import annotations

import copy
import random

import nets
import numpy as np
import pytest
import torch
from torch import nn

import arches
from arches.analysis.unused import unused_parameters
from arches.inversion.graph import as_graph

SHARING = [nets.OneForAll, lambda c, n: nets.OneForAll(c, n, by_value=True), nets.OneActivation]


@pytest.mark.parametrize("make", SHARING)
@pytest.mark.parametrize("variant", ["td", "td_uni", "td_rev"])
def test_what_has_no_weights_may_be_called_at_every_resolution(make: type, variant: str) -> None:
    turned = arches.invert(make(1, 10), variant, in_chans=1, image_size=28)
    images = torch.randn(2, 1, 28, 28)
    assert turned(images).shape == (2, 10)
    sides = [turned.forward_features(images)[name].shape[-1] for name in turned.feature_names]
    assert sides == sorted(set(sides))
    assert len(sides) > 1


def test_it_is_as_with_a_module_for_each_call() -> None:
    """Nothing but the names of modules depends on whether activations and pools are shared."""
    shared = nets.OneForAll(3, 10)
    torch.manual_seed(0)
    own = nn.Sequential(
        *(copy.deepcopy(part) for part in (shared.conv1, nn.ReLU(), nn.MaxPool2d(2))),
        *(copy.deepcopy(part) for part in (shared.conv2, nn.ReLU(), nn.MaxPool2d(2))),
        *(copy.deepcopy(part) for part in (shared.conv3, nn.ReLU())),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        copy.deepcopy(shared.fc),
    )
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(shared(images), own(images))
    for variant in ("bu", "td"):
        one, other = (arches.describe(model, variant, image_size=32) for model in (shared, own))
        for field in ("resolution", "in_width", "width", "parameters", "flops", "field_largest"):
            values = [[getattr(row, field) for row in found.rows] for found in (one, other)]
            assert values[0] == values[1], field
        assert one.totals.parameters == other.totals.parameters


@pytest.mark.parametrize("make", SHARING)
def test_parts_of_the_model_as_it_is_are_told_apart(make: type) -> None:
    found = arches.describe(make(1, 10), "bu", in_chans=1, image_size=28)
    sides = [row.resolution[0] for row in found.rows if row.resolution is not None]
    assert sides[-3:] == [14, 7, 1]
    assert [row.width for row in found.rows][-3:] == [16, 32, 10]
    assert min(found.other) >= 0
    assert [field.resolution[0] for field in found.features][-2:] == [14, 7]


@pytest.mark.parametrize("make", SHARING)
def test_the_given_model_keeps_its_one_module(make: type) -> None:
    model = make(3, 10)
    before = [id(module) for module in model.modules()]
    for variant in ("bu", "td"):
        arches.invert(model, variant, image_size=32)
    assert [id(module) for module in model.modules()] == before
    assert not model._forward_pre_hooks


def test_the_model_as_it_is_gives_the_same_after_a_pass_that_broke_off() -> None:
    model = nets.OneForAll(3, 10).eval()
    plain = arches.invert(model, "bu", image_size=32).eval()
    images = torch.rand(2, 3, 32, 32)
    maps = plain.forward_features(images)
    handle = plain.model.conv2.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plain(images)
    handle.remove()
    again = plain.forward_features(images)
    assert all(torch.equal(maps[name], again[name]) for name in plain.feature_names)
    assert torch.equal(plain(images), model(images))
    assert plain.state_dict().keys() == {f"model.{name}" for name in model.state_dict()}
    assert torch.equal(copy.deepcopy(plain)(images), plain(images))
    assert torch.equal(as_graph(plain.model)(images), plain(images))


def test_stages_are_fed_back() -> None:
    model = nets.OneForAll(3, 10)
    found = arches.stages(model, image_size=32)
    assert found.stem == ("conv1", "relu.0", "pool.0")
    assert [stage.modules for stage in found.stages] == [
        ("conv2", "relu.1"),
        ("pool.1", "conv3", "relu.2"),
    ]
    for variant in ("bu", "td"):
        for small_stem in (False, True):
            given = arches.stages(model, image_size=32, small_stem=small_stem)
            network = arches.invert(
                model, variant, image_size=32, stages=given.as_dict(), small_stem=small_stem
            )
            assert network.stages.reductions == ((1, 2) if small_stem else (2, 4))
            assert network(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("functions", [False, True])
def test_shared_weights_are_refused_with_the_reason(functions: bool) -> None:
    model = nets.OneConvolution(3, 10, functions)
    said = "module 'conv' is called 2 times: weights shared between stages cannot be taken apart"
    with pytest.raises(arches.InversionError, match=said) as caught:
        arches.invert(model, "td", image_size=32)
    assert caught.value.reason == "shared weights"
    remarks = arches.describe(model, "bu", image_size=32).remarks
    assert any(said in remark for remark in remarks)


@pytest.mark.parametrize("variant", ["bu", "td", "td_uni", "td_rev"])
def test_weights_that_one_stage_uses_again_are_inverted_with_it(variant: str) -> None:
    network = arches.invert(nets.Recurrent(3, 10), variant, image_size=32)
    assert network.stages is not None
    assert network.stages.reductions == (2, 4)
    images = torch.rand(2, 3, 32, 32)
    calls = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, _i, _o: calls.append(id(m)))
    assert network(images).shape == (2, 10)
    assert sorted(calls.count(one) for one in set(calls))[-2:] == [1, 3]


def test_weights_that_two_modules_have_in_common_are_refused_too() -> None:
    """Copies of them would be trained apart, and the network would have more parameters."""
    said = "'.*2' and '.*4' have the same weights"
    with pytest.raises(arches.InversionError, match=said) as caught:
        arches.invert(nets.tied(3, 10), "td", image_size=32)
    assert caught.value.reason == "shared weights"


def test_a_model_that_takes_no_copies_is_left_as_it_is() -> None:
    model = nets.ByClass(3, 10).eval()
    said = "module 'relu' is called 3 times: its calls cannot be taken apart"
    with pytest.raises(arches.InversionError, match=said):
        arches.invert(model, "td", image_size=32)
    plain = arches.invert(model, "bu", image_size=32).eval()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(plain(images), model(images))
    assert isinstance(plain.model.relu, nn.ReLU)


@pytest.mark.parametrize("by_value", [False, True])
def test_parameters_that_are_not_used_are_named_and_not_compared(by_value: bool) -> None:
    model = nets.OneForAll(3, 10, by_value, unused=True)
    full = arches.describe(nets.OneForAll(3, 10), "td", image_size=32, measured=False)
    assert full.remarks == ()
    for variant in ("bu", "td"):
        found = arches.describe(model, variant, image_size=32, measured=False)
        (remark,) = found.remarks
        assert remark.startswith(
            "not used in the forward pass: 2 parameters (unused.weight, unused.bias) of together "
            "65 values"
        )
        assert found.baseline.parameters == full.baseline.parameters + 65
        assert found.baseline.unused == 65
        ratio = full.ratios["parameters"] if variant == "td" else 1
        assert found.ratios["parameters"] == ratio
    for weight in model.unused.parameters():
        weight.requires_grad_(False)
    assert arches.describe(model, "td", image_size=32, measured=False).remarks == ()


@pytest.mark.parametrize("image_size", [32, 2000])
def test_they_are_found_on_images_of_any_size(image_size: int) -> None:
    """Small ones are run, large ones are not."""
    model = nn.Sequential(nn.AvgPool2d(8), nn.Conv2d(3, 64, 1), nn.Flatten())
    model.register_parameter("extra", nn.Parameter(torch.ones(5)))
    assert unused_parameters(model, image_size, 3) == {"extra": 5}


def test_looking_for_parameters_draws_no_random_numbers() -> None:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.extra = nn.Linear(48, 2), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            noise = random.random() + np.random.rand() + float(torch.rand(()))
            out: torch.Tensor = self.dense(x.flatten(1)) * noise
            return out

    model = Dropping()
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert unused_parameters(model, 4, 3) == {"extra.weight": 4, "extra.bias": 2}
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert after == before
