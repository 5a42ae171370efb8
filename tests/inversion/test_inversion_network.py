"""The inverted network: surface, resolutions, options, refusals, and what torch does with it."""

from __future__ import annotations

import copy

import nets
import pytest
import torch
from torch import nn

import arches
from arches.inversion.network import InvertedNetwork
from arches.inversion.verify import verify

NAMES = ("torchvision/resnet18", "torchvision/mobilenet_v3_small", "torchvision/convnext_tiny")


def small(variant: str = "td", **options: object) -> InvertedNetwork:
    torch.manual_seed(0)
    network = arches.invert(nets.residual(3, 10), variant, image_size=32, **options)
    assert isinstance(network, InvertedNetwork)
    return network


def test_it_is_of_the_family() -> None:
    network, paper = small(), arches.create("resnet32", "td")
    public = [name for name in dir(arches.surface.ScaledNetwork) if not name.startswith("_")]
    for name in (*public, "scales", "scale_names", "feature_names", "pyramid", "positions"):
        assert hasattr(network, name), name
        assert hasattr(paper, name), name
    assert type(network.pyramid) is type(paper.pyramid)
    assert network.scale_names == ("high", "medium", "low")


def test_features_go_from_coarse_to_fine_and_the_merge_is_the_papers() -> None:
    network = small()
    maps = network.forward_features(torch.rand(2, 3, 32, 32))
    assert [tuple(value.shape) for value in maps.values()] == [
        (2, 32, 4, 4),
        (2, 16, 8, 8),
        (2, 8, 16, 16),
        (2, 10),
    ]
    assert isinstance(network.positions[1].merge, arches.layers.merge.Merge)
    assert network.positions[0].merge is None


def test_receptive_fields_are_measured_as_of_any_network() -> None:
    fields = arches.effective_fields(small(), samples=2)
    assert list(fields) == ["act_1", "act_2", "act_3"]
    assert fields["act_3"].shape == (8, 16, 16)
    assert all(0 < field.extent <= 32 for field in fields.values())


def test_scales_given_one_by_one() -> None:
    network = small().eval()
    image, other = torch.rand(2, 2, 3, 32, 32)
    same = network.forward_scales({"high": image, "medium": image, "low": image})
    assert torch.equal(same, network(image))
    assert not torch.equal(network.forward_scales([image, image, other]), same)


@pytest.mark.parametrize("side", [28, 33, 65])
def test_sides_that_do_not_divide(side: int) -> None:
    network = small()
    maps = network.forward_features(torch.rand(2, 3, side, side))
    sides = [value.shape[-1] for value in maps.values() if value.dim() == 4]
    assert sides == [-(-side // factor) for factor in (8, 4, 2)]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str) -> None:
    network = arches.invert(name, "td", in_chans=1, num_classes=7)
    network(torch.randn(2, 1, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.training


def test_bottom_up_is_the_model_itself() -> None:
    model = nets.residual(3, 10).eval()
    plain = arches.invert(model, "bu").eval()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(plain(images), model(images))
    maps = plain.forward_features(images)
    assert [maps[name].shape[-1] for name in plain.feature_names] == [16, 8, 4]
    assert torch.equal(plain.forward_scales([images]), plain(images))


def test_what_cannot_be_inverted_still_runs_bottom_up() -> None:
    plain = arches.invert(nets.TwoMaps(3, 10), "bu")
    assert plain.feature_names == ()
    assert plain(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_the_given_module_is_left_alone() -> None:
    model = nets.residual(3, 10)
    before = copy.deepcopy(model.state_dict())
    arches.invert(model, "td", init="from_bu")
    assert model[2].act.inplace
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_come_from_the_model_where_asked_for() -> None:
    model = nets.residual(3, 10)
    kept = arches.invert(model, "td", init="from_bu")
    fresh = arches.invert(model, "td")
    assert torch.equal(kept.positions[0].stage.parts[0].conv.weight, model[5].conv.weight)
    assert not torch.equal(fresh.positions[0].stage.parts[0].conv.weight, model[5].conv.weight)


def test_finest_resolutions_and_merges() -> None:
    assert small(finest=1).scales == (1, 2, 4, 8)
    assert small(finest=2).scales == (2, 4, 8)
    narrow = small(finest=1, merge_width=4)
    assert [position.stem.width for position in narrow.positions] == [4, 4, 4, 4]
    assert narrow.positions[0].lift is not None
    assert small(merge="add").positions[1].merge.fuse is None
    small(upsampling="bilinear", downsampling="gaussian", blur_sigma=1.0)


def test_a_small_stem_reads_small_images_at_full_resolution() -> None:
    plain = arches.invert("torchvision/resnet18", "bu", image_size=32, small_stem=True)
    maps = plain.forward_features(torch.rand(1, 3, 32, 32).repeat(2, 1, 1, 1))
    assert [maps[name].shape[-1] for name in plain.feature_names] == [32, 16, 8, 4]
    turned = arches.invert("torchvision/resnet18", "td", image_size=32, small_stem=True)
    assert turned.scales == (1, 2, 4, 8)


def test_verification_leaves_no_trace() -> None:
    network = small()
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    verify(network, 32)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("model", "size", "reason"),
    [
        (nets.one_resolution, 64, "isotropic"),
        (nets.TwoMaps, 64, "state between stages"),
        (nets.unused, 64, "gradients"),
        (nets.residual, 2, "image too small"),
    ],
)
def test_refusals_name_their_reason(model: object, size: int, reason: str) -> None:
    with pytest.raises(arches.InversionError) as caught:
        arches.invert(model(3, 10), "td", image_size=size)  # type: ignore[operator]
    assert caught.value.reason == reason


def test_maps_that_layers_pad_are_refused_with_what_to_do() -> None:
    with pytest.raises(arches.InversionError, match="maps have sides") as caught:
        arches.invert(nets.padded_apart(3, 10), "td", image_size=64)
    assert "give the convolutions their padding" in str(caught.value)


def test_parameters_for_nothing_are_named_and_may_be_frozen() -> None:
    model = nets.unused(3, 10)
    with pytest.raises(arches.InversionError) as caught:
        arches.invert(model, "td", image_size=64)
    text = str(caught.value)
    assert text.startswith("not used in the forward pass, or cut off from its gradient: 4 param")
    place = "positions.0.stage.parts.0"
    assert f"({place}.never, {place}.nor, {place}.neither.weight, ...); take out" in text
    unused = model[5][0]
    for parameter in (unused.never, unused.nor, *unused.neither.parameters()):
        parameter.requires_grad_(False)
    arches.invert(model, "td", image_size=64)


def test_a_gradient_that_is_not_finite_is_told_from_none() -> None:
    network = small()
    network.head.dense.weight.register_hook(lambda gradient: gradient * float("nan"))
    said = r"^without a finite gradient: 1 parameter \(head.dense.weight\)\.$"
    with pytest.raises(arches.InversionError, match=said):
        verify(network, 32)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"variant": "tu"}, "Did you mean 'bu'|unknown variant"),
        ({"finset": 1}, "Did you mean 'finest'"),
        ({"finest": 3}, "unknown finest"),
        ({"merge_width": 0}, "merge_width must be"),
        ({"num_classes": 0}, "num_classes must be"),
        ({"blur_sigma": -1.0}, "blur_sigma must be"),
    ],
)
def test_mistakes_are_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arches.invert(nets.residual(3, 10), **given)


def test_estimates_do_not_run_and_agree_with_counting() -> None:
    plain, turned = arches.invert(nets.residual(3, 10), "bu"), small()
    own, other = arches.estimate(turned, 32), arches.estimate(plain, 32)
    assert own.parameters == sum(parameter.numel() for parameter in turned.parameters())
    assert set(own.over(other)) == {"parameters", "flops", "saved_bytes", "peak_bytes"}
    # 1/2, 1/4, 1/4, 1/8 with 3 x 3 and the skips, the stem and the dense layer.
    blocks = 16**2 * 8 * 8 * 9 + 8**2 * 16 * (8 * 9 + 8 + 16 * 9) + 4**2 * 32 * (16 * 9 + 16)
    assert other.flops == 2 * (16**2 * 8 * 27 + blocks + 320)


def with_no_decay() -> nn.Module:
    model = nets.residual(3, 10)
    model.no_weight_decay = lambda: {"5.conv.bias", "0.bias"}  # type: ignore[assignment]
    return model


def test_no_weight_decay_follows_its_parameters() -> None:
    network = arches.invert(with_no_decay(), "td")
    assert network.no_weight_decay() == {"positions.0.stage.parts.0.conv.bias"}
    assert arches.invert(with_no_decay(), "bu").no_weight_decay() == {
        "model.5.conv.bias",
        "model.0.bias",
    }


def built(name: str) -> InvertedNetwork:
    torch.manual_seed(0)
    network = arches.invert(name, "td", image_size=32)
    assert isinstance(network, InvertedNetwork)
    return network.eval()


@pytest.mark.parametrize(
    "name", [NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])]
)
def test_compile(name: str) -> None:
    network, images = built(name), torch.rand(2, 3, 32, 32)
    expected = network(images)
    for backend in ("eager", "aot_eager"):  # the second is all of the default but its C++
        torch.compiler.reset()
        compiled = torch.compile(network, fullgraph=True, backend=backend)
        assert torch.allclose(compiled(images), expected, atol=1e-5), backend


@pytest.mark.parametrize("name", [*NAMES[:2], pytest.param(NAMES[2], marks=pytest.mark.slow)])
class TestTorch:
    """What users do with networks."""

    def test_copies_and_state(self, name: str) -> None:
        network, images = built(name), torch.rand(2, 3, 32, 32)
        expected = network(images)
        assert torch.equal(copy.deepcopy(network)(images), expected)
        other = built(name)
        other.load_state_dict(network.state_dict())
        assert torch.equal(other(images), expected)

    def test_autocast_and_channels_last(self, name: str) -> None:
        network, images = built(name), torch.rand(2, 3, 32, 32)
        expected = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(images)
        assert torch.allclose(rough.float(), expected, atol=0.1)
        last = network.to(memory_format=torch.channels_last)
        out = last(images.contiguous(memory_format=torch.channels_last))
        assert torch.allclose(out, expected, atol=1e-4)

    def test_export(self, name: str) -> None:
        network, images = built(name), torch.rand(2, 3, 32, 32)
        program = torch.export.export(network, (images,))
        assert torch.allclose(program.module()(images), network(images), atol=1e-5)

    @pytest.mark.slow
    def test_compile_and_train(self, name: str) -> None:
        """By the default backend, forward and backward."""
        torch.compiler.reset()
        network, images = built(name), torch.rand(2, 3, 32, 32)
        compiled = torch.compile(network)
        slopes = [
            torch.autograd.grad(net(images).square().sum(), list(network.parameters()))
            for net in (network, compiled)
        ]
        for plain, ours in zip(*slopes, strict=True):
            assert torch.allclose(ours, plain, rtol=1e-3, atol=1e-4)
