"""The paper's networks and inverted ones through the surface that they share."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise

import pytest
import torch
from families import NAMES, SIDE, TOP_DOWN, Custom, needs_timm, network
from torch import nn
from torch.utils.hooks import RemovableHandle

import arches
from arches.analysis.cost import read_cost
from arches.analysis.measured_field import measured_fields

family = pytest.mark.parametrize("name", NAMES)


@cache
def description(name: str) -> arches.Description:
    return arches.describe(network(name), image_size=SIDE)


def keys(value: object) -> object:
    """The keys of nested mappings; of a list those of its first item."""
    if isinstance(value, dict):
        return {key: keys(item) for key, item in value.items() if key not in ("ratios", "baseline")}
    return keys(value[0]) if isinstance(value, list | tuple) and value else None


@family
def test_descriptions_have_the_same_keys_and_add_up(name: str) -> None:
    found, paper = description(name), description("nin_light@td")
    content = json.loads(json.dumps(found.as_dict()))
    assert content.keys() == paper.as_dict().keys()
    assert keys(content["rows"]) == keys(paper.as_dict()["rows"])
    assert keys(content["totals"]) == keys(paper.as_dict()["totals"])
    assert found.variant == name.partition("@")[2]
    assert found.totals.parameters == sum(p.numel() for p in network(name).parameters())
    assert sum(row.parameters for row in found.rows) == found.totals.parameters
    flops, kept = found.other
    assert flops >= 0 <= kept
    assert sum(row.flops for row in found.rows) + flops == found.totals.flops
    assert sum(row.activation_bytes for row in found.rows) + kept == found.totals.activation_bytes
    assert [row.depth for row in found.rows] == sorted(row.depth for row in found.rows)
    assert len({row.name for row in found.rows}) == len(found.rows)
    text = found.text()
    assert all(len(line) <= 100 for line in text.splitlines())
    assert all(row.name in text for row in found.rows)


@family
def test_resolutions_and_widths_of_a_description_are_those_of_a_pass(name: str) -> None:
    given: dict[str, tuple[int, ...]] = {}

    def attach(key: str, module: nn.Module) -> RemovableHandle:
        return module.register_forward_hook(lambda _m, _i, out: given.update({key: out.shape}))

    model = network(name)
    handles = [attach(row.name, module) for row in model.rows() for module in row.modules]
    model(torch.rand(1, 3, SIDE, SIDE))
    for handle in handles:
        handle.remove()
    for row in description(name).rows[:-1]:
        assert row.resolution == given[row.name][2:]
        assert row.width == given[row.name][1]


@family
def test_fields_lie_inside_the_image_and_rise_with_depth(name: str) -> None:
    found = description(name)
    assert found.fields == (
        "equation" if name.partition("@")[0] in arches.BACKBONES else "measured"
    )
    rows = [row for row in found.rows if row.field_largest is not None]
    assert len(rows) >= len(found.rows) - 1
    for row in rows:
        assert row.field_smallest is not None
        assert 1 <= row.field_smallest <= row.field_largest
        if found.fields == "measured":
            assert row.field_largest <= SIDE
    ends = [[row for row in rows if row.depth == depth][-1] for depth in range(1, rows[-1].depth)]
    assert all(a.field_largest <= b.field_largest for a, b in pairwise(ends))


@family
def test_one_image_for_each_scale(name: str) -> None:
    model = network(name)
    image, other = torch.rand(2, 2, 3, SIDE, SIDE)
    expected = model(image)
    assert len(model.scales) == len(model.scale_names) == len(set(model.scales))
    assert torch.equal(model.forward_scales([image] * len(model.scales)), expected)
    assert torch.equal(model.forward_scales(dict.fromkeys(model.scale_names, image)), expected)
    for place in range(len(model.scales)):
        images = dict.fromkeys(range(len(model.scales)), image) | {place: other}
        assert not torch.equal(model.forward_scales(images), expected)
    with pytest.raises(ValueError, match="no image for"):
        model.forward_scales({})
    with pytest.raises(ValueError, match="unknown or repeated scale 'middling'"):
        model.forward_scales({"middling": image})


@family
def test_named_feature_maps(name: str) -> None:
    model = network(name)
    images = torch.rand(2, 3, SIDE, SIDE).requires_grad_()
    maps = model.forward_features(images)
    assert tuple(maps) == (*model.feature_names, "logits")
    assert model.feature_names == tuple(f"act_{n + 1}" for n in range(len(maps) - 1))
    assert torch.equal(maps["logits"], model(images))
    sides = [maps[key].shape[-1] for key in model.feature_names]
    if name.partition("@")[0] in arches.BACKBONES:
        sides.pop()  # the map of class scores has the size of the last position
    rising = sides if not name.endswith("@bu") else sides[::-1]
    assert all(a < b for a, b in pairwise(rising))
    for key in model.feature_names:
        assert maps[key].dim() == 4
        (gradient,) = torch.autograd.grad(maps[key].square().sum(), images, retain_graph=True)
        assert gradient.abs().max() > 0
    fields = {field.name: field for field in description(name).features}
    assert list(fields) == list(model.feature_names)
    assert all(fields[key].width == maps[key].shape[1] for key in fields)


@pytest.mark.parametrize("name", TOP_DOWN)
def test_the_family_shares_the_pyramid_and_the_merge(name: str) -> None:
    model = network(name)
    assert type(model.pyramid) is arches.layers.pyramid.Pyramid
    levels = model.pyramid([torch.rand(1, 3, SIDE, SIDE)] * len(model.scales))
    assert [level.shape[-1] for level in levels] == [-(-SIDE // f) for f in model.scales]
    merges = [part for part in model.modules() if isinstance(part, arches.layers.merge.Merge)]
    assert len(merges) == len(model.scales) - 1


@pytest.mark.parametrize("name", TOP_DOWN)
def test_a_network_is_compared_with_its_bottom_up_one(name: str) -> None:
    found = description(name)
    if name.startswith("custom"):
        assert found.baseline is None
        assert found.ratios == {}
        assert "nothing bottom-up to compare with" in found.text()
        model = Custom(3, 10)
        found = arches.describe(model, found.variant, image_size=SIDE, measured=False)
    plain = network(f"{name.partition('@')[0]}@bu")
    assert found.baseline is not None
    assert found.baseline.parameters == sum(p.numel() for p in plain.parameters())
    assert found.baseline.flops == read_cost(plain, SIDE, 3).flops
    assert found.ratios["flops"] == found.totals.flops / found.baseline.flops


@pytest.mark.parametrize(("name", "variant"), [("lenet_fc", "td"), ("lenet_fc", "td_rev")])
def test_measured_fields_are_those_of_the_equation(name: str, variant: str) -> None:
    model = arches.create(name, variant)
    fields = {field.name: field for field in model.receptive_fields()}
    found = measured_fields(model, 64)
    assert found.keys() == fields.keys() - {"head"}
    # A coarse pixel straddles the edge of a finer field, or just not.
    slack = model.plan.total_factor
    for key, field in found.items():
        assert abs(field.largest - fields[key].largest) < slack
        assert abs(field.smallest - fields[key].smallest) < slack


@pytest.mark.parametrize("name", ["lenet_fc", "nin_light"])
def test_measured_fields_bottom_up_are_exact_until_the_border_cuts(name: str) -> None:
    model = arches.create(name, "bu")
    found = measured_fields(model, 64)
    for field in model.receptive_fields()[:-1]:
        if not found[field.name].cut:
            assert found[field.name].largest == found[field.name].smallest == field.largest
        else:
            assert found[field.name].largest <= field.largest
    assert not found[model.receptive_fields()[3].name].cut


def test_branches_that_start_at_zero_are_in_the_field() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1)
            self.norm = nn.BatchNorm2d(8)
            nn.init.zeros_(self.norm.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.norm(self.conv(x))

    layers = [nn.Conv2d(3, 8, 3, 2, 1), Block(), Block(), nn.Conv2d(8, 8, 3, 2, 1), Block()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    found = arches.describe(model, "bu", image_size=64)
    largest = {row.name: row.field_largest for row in found.rows}
    assert largest == {"stem": 3, "s2": 3 + 4 + 4, "s4": 11 + 4 + 8, "head": None}
    assert not any(row.field_cut for row in found.rows)
    assert not layers[1].norm.weight.any(), "a copy is measured"


def test_what_pools_over_the_image_sees_all_of_it() -> None:
    class Gate(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * x.mean((2, 3), keepdim=True).sigmoid()

    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), Gate()),
        nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), Gate()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    rows = arches.describe(model, "bu", image_size=64).rows
    assert [(row.field_largest, row.field_cut) for row in rows[:2]] == [(3, False), (64, True)]


def test_bottom_up_figures_are_the_published_ones() -> None:
    torchvision = pytest.importorskip("torchvision")
    meta = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.meta
    found = arches.describe(
        "torchvision/squeezenet1_1", num_classes=1000, image_size=224, measured=False
    )
    assert found.totals.parameters == meta["num_params"]
    assert found.totals.flops / 2e9 == pytest.approx(meta["_ops"], abs=0.001)


class Heads(nn.Module):
    """Scales groups of 8 channels, and so runs on multiples of 8 only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        return self.mix(x).reshape(n, c // 8, 8, h, w).relu().reshape(n, c, h, w)


def test_widths_that_a_stage_cannot_take_are_remarked() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        Heads(16),
        nn.Conv2d(16, 20, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(20, 32, 3, stride=2, padding=1),
        Heads(32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    found = arches.describe(model, "td_uni", image_size=SIDE, width=20, measured=False)
    widths = {row.name: row.width for row in found.rows}
    assert widths["t2"] == 20 != widths["t4"]
    assert f"stage 1/4: {widths['t4']} channels for the wanted 20" in found.remarks
    assert all(text in found.text() for text in found.remarks)
    assert not any("1/2" in text for text in found.remarks)


@needs_timm
def test_axes_in_another_order_are_understood() -> None:
    found = arches.describe("timm/test_mambaout", image_size=SIDE, measured=False)
    stages = [row for row in found.rows if row.name.startswith("s") and row.name != "stem"]
    assert [row.resolution for row in stages] == [(8, 8), (4, 4), (2, 2), (1, 1)]
    plain = arches.invert("timm/test_mambaout", "bu", image_size=SIDE)
    assert [row.width for row in stages] == [stage.width for stage in plain.stages.stages]


def test_a_model_of_one_resolution_is_described_without_stages() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(1)
    )
    found = arches.describe(model, "bu", num_classes=8, image_size=SIDE)
    assert [row.name for row in found.rows] == ["0", "1", "2", "3", "rest"]
    assert sum(row.parameters for row in found.rows) == found.totals.parameters
    assert all(row.resolution is row.width is row.field_largest is None for row in found.rows)
    assert "nothing to invert" in found.text()


def test_what_two_parts_share_is_counted_once() -> None:
    class Sharing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 8, 4, 4)
            self.shared = nn.Conv2d(8, 8, 3, 1, 1)
            self.body = nn.Sequential(self.shared, nn.ReLU(), self.shared)
            self.fc = nn.Linear(8, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.body(self.shared(self.embed(x)))
            logits: torch.Tensor = self.fc(x.mean((2, 3)))
            return logits

    found = arches.describe(Sharing(), "bu", image_size=SIDE, measured=False)
    one = 2 * 8 * 8 * 8 * 8 * 9
    flops = {row.name: row.flops for row in found.rows}
    assert (flops["shared"], flops["body"]) == (one, 2 * one)
    assert sum(flops.values()) == found.totals.flops
    assert found.other[1] >= 0
    assert sum(row.parameters for row in found.rows) == found.totals.parameters


def test_a_model_that_reads_values_is_run_to_know_its_cost() -> None:
    class Choosy(Custom):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(-x if float(x.mean()) > 9 else x)

    found = arches.describe(Choosy(3, 10), "bu", image_size=SIDE, measured=False)
    assert found.totals == arches.describe(Custom(3, 10), "bu", image_size=SIDE).totals


def test_describing_leaves_no_trace() -> None:
    model = network("custom@td")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(3)
    random = torch.get_rng_state()
    arches.describe(model, image_size=SIDE)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ("custom@td", {"variant": "bu"}, "is 'td', not 'bu'"),
        ("custom@td", {"merge": "add"}, "takes no options: merge"),
        ("custom@td", {"image_size": 0}, "image_size must be"),
    ],
)
def test_a_given_network_is_described_as_it_is(
    given: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        arches.describe(network(given), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "up"}, "unknown variant"),
        ({"num_classes": 7}, r"gives \(1, 10\) for one image, not 7 logits"),
        ({"in_chans": 2}, "channels"),
        ({"finset": 1}, "Did you mean 'finest'"),
        ({"variant": "td", "stages": [{"reduction": 2}]}, "needs the key 'in_width'"),
    ],
)
def test_mistakes_about_a_module_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arches.describe(Custom(3, 10), **{"image_size": SIDE, **options})
