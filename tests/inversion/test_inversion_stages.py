"""Reading stages: chains of units, cuts, stems, tails, graphs, and the data structure."""

from __future__ import annotations

import json

import nets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import arches
from arches.inversion.graph import as_graph
from arches.inversion.observe import observe
from arches.inversion.read import read_stages
from arches.inversion.trace import trace
from arches.inversion.units import read_chain


def test_an_in_place_change_breaks_the_chain() -> None:
    class Meddling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 3, 3, 2, 1), nn.Conv2d(3, 3, 3, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.a(x)
            x += 1
            return self.b(x)

    root, error = trace(Meddling(), torch.rand(1, 3, 32, 32))
    assert error is None
    chain = read_chain(root)
    assert [unit.path for unit in chain.units] == ["a"]
    assert not chain.ended


def test_trace_keeps_what_ran_before_an_error() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(7, 7))
    root, error = trace(model, torch.rand(1, 3, 8, 8))
    assert error is not None
    assert [child.whole for child in root.children] == [True, False]
    assert model.training


def test_resnet18_has_its_four_stages() -> None:
    found = arches.stages("torchvision/resnet18")
    assert found.reductions == (4, 8, 16, 32)
    assert [stage.width for stage in found.stages] == [64, 128, 256, 512]
    assert [stage.in_width for stage in found.stages] == [64, 64, 128, 256]
    assert found.stages[2].modules == ("layer3.0", "layer3.1")
    assert found.stem == ("conv1", "bn1", "relu", "maxpool")
    assert found.tail == ()


def test_vgg_keeps_the_layers_of_its_last_convolution() -> None:
    found = arches.stages("torchvision/vgg11_bn")
    assert found.stages[-1].modules[-3:] == ("features.25", "features.26", "features.27")
    assert found.tail == ("features.28",)


def test_the_convolution_before_the_head_is_no_stage() -> None:
    found = arches.stages("torchvision/mobilenet_v2")
    assert found.stages[-1].width == 320
    assert all(path.startswith("features.18") for path in found.tail)


def test_blocks_are_not_cut_in_two() -> None:
    found = arches.stages(nets.residual(3, 10))
    assert [stage.modules for stage in found.stages] == [("2",), ("3", "4"), ("5",)]
    assert found.stem == ("0", "1")


def test_a_stem_alone_becomes_a_level_where_there_is_no_other() -> None:
    found = arches.stages(nets.two_convs(3, 10))
    assert found.reductions == (2, 4)
    assert found.stages[0].modules == ()


def test_functions_between_modules_are_read_from_the_graph() -> None:
    model = nets.Functional(3, 10).eval()
    found = arches.stages(model)
    assert found.split == "graph"
    assert found.reductions == (2, 4)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(as_graph(model)(images), model(images))


def test_a_network_is_cut_alike_however_it_is_written() -> None:
    """As modules or as functions, with and without something that normalises its images."""

    class Normalise(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x - 0.5) / 0.25

    convs = [nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)]
    norms = [nn.BatchNorm2d(width) for width in (8, 16, 32)]
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]

    class ByFunctions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs, self.norms = nn.ModuleList(convs), nn.ModuleList(norms)
            self.end = nn.Sequential(*end)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = nn.functional.relu(norm(conv(x)))
            out: torch.Tensor = self.end(x)
            return out

    layers = [
        part for conv, norm in zip(convs, norms, strict=True) for part in (conv, norm, nn.ReLU())
    ]
    written = [nn.Sequential(*layers, *end), ByFunctions()]
    written += [nn.Sequential(Normalise(), model) for model in list(written)]
    written.append(nn.Sequential(Normalise(), *layers, *end))
    for model in written:
        found = arches.stages(model, image_size=32)
        assert [(s.reduction, s.in_width, s.width) for s in found.stages] == [
            (2, 8, 16),
            (4, 16, 32),
        ]


def test_a_functional_dropout_still_depends_on_the_mode() -> None:
    graph = as_graph(nets.Functional(3, 10))
    images = torch.rand(1, 3, 32, 32)
    graph.eval()
    assert torch.equal(graph(images), graph(images))
    graph.train()
    graph.get_submodule("submod_2")
    dropouts = [module for module in graph.modules() if isinstance(module, nn.Dropout)]
    assert [dropout.p for dropout in dropouts] == [0.1]


@pytest.mark.parametrize(
    ("variant", "widths"), [("td", [32, 16]), ("td_uni", [32, 32]), ("td_rev", [16, 32])]
)
def test_parameters_and_buffers_outside_of_modules_go_with_their_stage(
    variant: str, widths: list[int]
) -> None:
    model = nets.OwnValues(3, 10)
    bottom_up = arches.invert(model, "bu", image_size=32)
    images = torch.rand(2, 3, 32, 32)
    assert bottom_up.stages is not None
    assert torch.equal(bottom_up.eval()(images), model.eval()(images))
    one, other = (arches.estimate(made, 32) for made in (bottom_up, model))
    assert (one.parameters, one.flops) == (other.parameters, other.flops)
    network = arches.invert(model, variant, image_size=32)
    assert isinstance(network, arches.InvertedNetwork)
    assert list(network.widths.values()) == widths
    assert network.head.operation == "mean, dense, mul"
    gains = [p for name, p in network.named_parameters() if name.endswith("gain")]
    assert [tuple(gain.shape) for gain in gains] == [(network.widths[2], 1, 1)]
    assert float(gains[0].detach().mean()) == 0.5


@pytest.mark.parametrize("how", ["path", "block", "alpha", "noise", "always"])
def test_what_is_done_in_training_only_is_done_there(how: str) -> None:
    """A graph is read in one mode; what the other one does must not be lost."""
    torch.manual_seed(0)
    model = nets.InTraining(3, 10, how)
    network = arches.invert(model, "bu", image_size=32)
    images = torch.rand(8, 3, 32, 32)
    for mode in (True, False):
        given = []
        for one in (model.train(mode), network.train(mode)):
            torch.manual_seed(1)
            given.append(one(images))
        assert torch.allclose(*given, atol=1e-6), mode


@pytest.mark.parametrize("how", ["path", "block", "alpha"])
def test_an_inverted_stage_does_so_too(how: str) -> None:
    model = nets.InTraining(3, 10, how)
    for part in (model.branch, model.block):
        part.requires_grad_(False)  # not all are used
    network = arches.invert(model, "td")
    assert isinstance(network, arches.InvertedNetwork)
    stage = network.positions[-1].stage
    x = torch.rand(1, 8, 16, 16)
    assert not torch.equal(stage.train()(x), stage(x))
    stage.eval()
    assert torch.equal(stage(x), stage(x))


def test_a_function_that_only_runs_in_training_is_refused_by_name() -> None:
    with pytest.raises(arches.InversionError, match="it calls randn_like there") as caught:
        arches.invert(nets.InTraining(3, 10, "noise"), "td")
    assert caught.value.reason == "not faithful"


def test_one_resolution_is_refused() -> None:
    for model in (nets.one_resolution(3, 10), "torchvision/vit_b_16"):
        with pytest.raises(arches.InversionError, match="one resolution only") as caught:
            arches.stages(model)
        assert caught.value.reason == "isotropic"


@pytest.mark.parametrize("name", ["gmlp_ti16_224", "xcit_nano_12_p16_224", "vit_tiny_r_s16_p8_224"])
def test_tokens_behind_an_embedding_are_one_resolution(name: str) -> None:
    """Mixers transpose tokens and channels, and a stem of convolutions has sides of its own."""
    with pytest.raises(arches.InversionError, match="one resolution only") as caught:
        arches.stages(f"timm/{name}")
    assert caught.value.reason == "isotropic"


def test_stages_behind_an_embedding_are_not() -> None:
    found = arches.stages("timm/pvt_v2_b0")
    assert [stage.reduction for stage in found.stages] == [4, 8, 16, 32]
    with pytest.raises(arches.InversionError) as caught:
        arches.stages("timm/vitamin_small_224")  # convolutions at two resolutions, then tokens
    assert caught.value.reason == "state between stages"


def test_more_than_one_map_is_refused() -> None:
    with pytest.raises(arches.InversionError, match="more than one map") as caught:
        arches.stages(nets.TwoMaps(3, 10))
    assert caught.value.reason == "state between stages"


def test_a_function_in_the_way_is_named_with_the_module_to_write() -> None:
    with pytest.raises(arches.InversionError, match="the stages cannot be read") as caught:
        arches.stages(nets.ByFunction(3, 10))
    assert caught.value.reason == "state between stages"
    assert str(caught.value) == (
        "the stages cannot be read: forward calls relu on what stem gives: write it as a module, "
        "nn.ReLU(), or list the stages by hand, by stages=..."
    )
    assert arches.stages(nets.ByFunction(3, 10, nn.ReLU())).reductions == (2, 4)
    with pytest.raises(arches.InversionError) as caught:
        arches.stages(nets.ByFunction(3, 10, lambda x: x.cumsum(1)))
    assert "calls cumsum on what stem gives: put it into a module of its own, or" in str(
        caught.value
    )


def test_a_function_behind_a_sequential_is_named_too() -> None:
    model = nets.ByFunction(3, 10)
    model.stem = nn.Sequential(model.stem, nn.Sequential(nn.BatchNorm2d(8), nn.Tanh()))
    with pytest.raises(arches.InversionError) as caught:
        arches.stages(model)
    assert "forward calls relu on what stem gives: write it as a module, nn.ReLU(), or" in str(
        caught.value
    )


def test_stages_by_hand_do_without_reading() -> None:
    by_hand = [
        {"reduction": 2, "in_width": 8, "width": 8, "modules": ["down1"]},
        {"reduction": 4, "in_width": 8, "width": 16, "modules": ["down2"]},
    ]
    network = arches.invert(nets.ByFunction(3, 10), "td", stages=by_hand)
    assert network.scales == (2, 4)
    assert network.head.operation == "mean, dense"


def test_stages_survive_json_and_can_be_edited() -> None:
    found = arches.stages(nets.residual(3, 10))
    content = json.loads(json.dumps(found.as_dict()))
    assert arches.Stages.parse(content) == found
    assert "1/4   8 -> 16  3, 4" in found.text()
    # Without the last stage, as a list alone.
    edited = arches.invert(nets.residual(3, 10), "td", stages=content["stages"][:2])
    assert edited.scales == (2, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reduktion": 2}, "Did you mean 'reduction'"),
        ({"reduction": 0}, "whole number of at least 1"),
        ({"in_layout": "chwn"}, "Choose from: nchw, nhwc"),
    ],
)
def test_mistakes_in_stages_are_named(change: dict[str, object], message: str) -> None:
    entry = {"reduction": 2, "in_width": 8, "width": 8, "modules": ["2"], **change}
    with pytest.raises(ValueError, match=message):
        arches.Stages.parse([entry])


def test_stages_must_rise_and_name_modules_that_run() -> None:
    stage = {"reduction": 2, "in_width": 8, "width": 8, "modules": ["2"]}
    with pytest.raises(ValueError, match="must rise"):
        arches.Stages.parse([stage, stage])
    wrong = {**stage, "modules": ["22"]}
    with pytest.raises(arches.InversionError, match="no such module"):
        arches.invert(nets.residual(3, 10), "td", stages=[wrong])


def test_a_chain_that_skips_a_module_is_not_faithful() -> None:
    model = nets.residual(3, 10)
    found = read_stages(model, 3)
    content = found.as_dict()
    content["stages"][1]["modules"] = ["3"]
    with pytest.raises(arches.InversionError) as caught:
        observe(model, arches.Stages.parse(content), 3)
    assert caught.value.reason == "not faithful"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
STAGE = st.fixed_dictionaries(
    {},
    optional={
        key: st.just(right) | ANYTHING
        for key, right in {
            "reduction": 2,
            "in_width": 8,
            "width": 8,
            "modules": ["2"],
            "in_layout": "nchw",
            "out_layout": "nhwc",
        }.items()
    },
)
CONTENT = st.fixed_dictionaries(
    {},
    optional={
        "stages": st.lists(STAGE, max_size=2) | ANYTHING,
        "stem": st.lists(st.text(max_size=3), max_size=2) | ANYTHING,
        "tail": ANYTHING,
        "probe_size": st.just(224) | ANYTHING,
        "split": st.sampled_from(["modules", "graph"]) | ANYTHING,
    },
)


@given(CONTENT | st.lists(STAGE | ANYTHING, max_size=2) | ANYTHING)
def test_what_is_read_are_stages_or_a_mistake_is_named(content: object) -> None:
    try:
        found = arches.Stages.parse(content)  # type: ignore[arg-type]
    except ValueError:
        return
    assert arches.Stages.parse(json.loads(json.dumps(found.as_dict()))) == found


@pytest.mark.parametrize("variant", ["bu", "td"])
def test_stages_that_are_fed_back_keep_the_small_stem(variant: str) -> None:
    found = arches.stages("torchvision/resnet18", image_size=32, small_stem=True)
    options = {"image_size": 32, "small_stem": True}
    read = arches.invert("torchvision/resnet18", variant, **options)
    fed = arches.invert("torchvision/resnet18", variant, stages=found, **options)
    images = torch.rand(1, 3, 32, 32)
    shapes = [
        {name: tuple(value.shape) for name, value in net.eval().forward_features(images).items()}
        for net in (read, fed)
    ]
    assert shapes[0] == shapes[1]
    assert max(shape[-1] for shape in shapes[1].values()) == 32


def test_a_small_stem_does_not_make_a_stage_of_the_end() -> None:
    """A window that holds all of the map would hold a part of it, if the maps were larger."""
    plain, small = (
        arches.stages(nets.WindowedEnd(3, 10), image_size=32, small_stem=wanted)
        for wanted in (False, True)
    )
    assert (plain.reductions, small.reductions) == ((2, 4, 8), (1, 2, 4))
    assert [one.modules for one in small.stages] == [one.modules for one in plain.stages]


@pytest.mark.parametrize("modules", [True, False])
@pytest.mark.parametrize("variant", ["td", "td_uni", "td_rev"])
@pytest.mark.parametrize(("side", "reductions"), [(32, (1, 2, 4)), (64, (1, 4, 8))])
def test_pools_to_a_fixed_size_are_steps(
    side: int, reductions: tuple[int, ...], variant: str, modules: bool
) -> None:
    """By a factor that depends on the image for which the network is wanted."""
    torch.manual_seed(1)
    model = nets.FixedPools(3, 10, modules)
    state = torch.get_rng_state()
    assert read_stages(model, 3, None, side).reductions == reductions
    assert torch.equal(state, torch.get_rng_state())
    network = arches.invert(model, variant, image_size=side)
    maps = network.forward_features(torch.rand(2, 3, side, side))
    assert [maps[f"act_{n}"].shape[-1] for n in (1, 2, 3)] == [8, 16, side]
    assert "daptive" not in str(network.positions)


def test_the_size_of_a_pool_may_be_a_list() -> None:
    model = nets.FixedPools(3, 10, True)
    for module in model.modules():
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size == 16:
            module.output_size = [16, 16]
    assert read_stages(model, 3, None, 64).reductions == (1, 4, 8)


@pytest.mark.parametrize(("modules", "who"), [(True, "pool1"), (False, "forward")])
def test_a_pool_to_a_fixed_size_that_is_no_factor_is_refused(modules: bool, who: str) -> None:
    with pytest.raises(arches.InversionError) as caught:
        arches.invert(nets.FixedPools(3, 10, modules), "td", image_size=28)
    assert caught.value.reason == "fixed size"
    assert str(caught.value) == (
        f"{who} pools to 16 x 16 pixels whatever it takes, which is no whole factor of the 28 x 28 "
        "pixels that it takes in images of 28: pool by a factor, such as nn.AvgPool2d(2), or take "
        "images of another size."
    )
    assert arches.invert(nets.FixedPools(3, 10, modules), "bu", image_size=28).stages is None
