"""Receptive fields, cost and the description of a network."""

from __future__ import annotations

import json
import time

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import arches
from arches.analysis.cost import measure_cost
from arches.receptive_field import Field

ALL = [(name, variant) for name in arches.BACKBONES for variant in arches.VARIANTS]


def by_name(name: str, variant: str, **options: object) -> dict[str, Field]:
    return {field.name: field for field in arches.receptive_fields(name, variant, **options)}


def test_equation_by_hand_bottom_up() -> None:
    fields = by_name("lenet_fc", "bu")
    # 5x5; pool 2; 5x5 at stride 2; pool 2; 3x3 at stride 4.
    sizes = [5, 6, 6 + 4 * 2, 14 + 2, 16 + 2 * 4, 24]
    assert [field.largest for field in fields.values()] == sizes
    assert all(field.smallest == field.largest for field in fields.values())
    assert [field.stride for field in fields.values()] == [1, 2, 2, 4, 4, 4]


def test_equation_by_hand_top_down() -> None:
    fields = by_name("lenet_fc", "td")
    assert fields["in4"] == Field("in4", 4, 20, 20)  # a blur of 12 and a 3x3 at stride 4
    assert fields["in2"] == Field("in2", 2, 14, 14)  # a blur of 6 and a 5x5 at stride 2
    assert fields["m2.up"] == Field("m2.up", 2, 14, 20)
    assert fields["m2.fuse"] == Field("m2.fuse", 2, 18, 24)
    assert fields["t2.c1"] == Field("t2.c1", 2, 26, 32)
    assert fields["m1.up"] == Field("m1.up", 1, 5, 32)
    assert fields["head"] == Field("head", 1, 11, 38)


def test_blur_and_upsampling_count() -> None:
    assert by_name("lenet_fc", "td", downsampling="noblur")["in4"].largest == 1 + 2 * 4
    assert by_name("lenet_fc", "td", downsampling="pool")["in4"].largest == 4 + 2 * 4
    assert by_name("lenet_fc", "td", downsampling="gaussian")["in4"].largest == 13 + 2 * 4
    assert by_name("lenet_fc", "td", downsampling="antialias")["in4"].largest == 8 + 2 * 4
    bilinear = by_name("lenet_fc", "td", upsampling="bilinear")
    assert (bilinear["m2.up"].smallest, bilinear["m2.up"].largest) == (14, 24)


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_every_unit_has_a_field(name: str, variant: str) -> None:
    with torch.device("meta"):
        model = arches.create(name, variant)
    names = [row.name for row in model.rows()]
    assert names == [field.name for field in model.receptive_fields()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "options",
    [{}, {"downsampling": "gaussian"}, {"downsampling": "noblur", "upsampling": "bilinear"}],
)
@pytest.mark.parametrize("variant", list(arches.VARIANTS))
def test_measured_field_stays_within_the_equation(variant: str, options: dict[str, str]) -> None:
    torch.manual_seed(0)
    model = arches.create("lenet_fc", variant, **options)
    fields = {field.name: field for field in model.receptive_fields()}
    ends = [list(position.layers)[-1:] for position in model.positions]
    names = [end[0].name if end else "in4" for end in ends]
    if variant == "bu":
        names[0] = "s1.c1"
    measured = arches.effective_fields(model, image_size=96, samples=4)
    for place, name in zip(measured.values(), [*names, "head"], strict=True):
        straddling = 0 if variant == "bu" else model.plan.total_factor - 1
        assert 1 <= place.side <= place.extent <= fields[name].largest + straddling
        assert place.extent >= 0.9 * fields[name].largest
        assert place.influence.shape == (96, 96)
        assert place.influence.max() == 1
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_cost_by_hand() -> None:
    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 4, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x).relu()

    model = Tiny()
    cost = measure_cost(model, torch.rand(1, 2, 8, 8), [model.conv])
    assert cost.flops == cost.parts[0].flops == 2 * 64 * 9 * 2 * 4
    assert cost.parts[0].output_bytes == 64 * 4 * 4
    # Kept: the image for the convolution, the output for the ReLU.
    assert cost.parts[0].saved_bytes == 64 * 2 * 4
    assert cost.saved_bytes == 64 * 2 * 4 + 64 * 4 * 4
    # At most the image, the convolution's output and the ReLU's.
    assert cost.peak_bytes == 64 * (2 + 4 + 4) * 4
    assert model.training


@pytest.mark.parametrize(("name", "variant"), [("nin_light", "td"), ("resnet32", "bu")])
def test_meta_costs_are_those_of_a_real_pass(name: str, variant: str) -> None:
    real = arches.create(name, variant)
    with torch.device("meta"):
        meta = arches.create(name, variant)
    own = measure_cost(real, torch.rand(1, 3, 32, 32), list(real.positions))
    guess = measure_cost(meta, torch.empty(1, 3, 32, 32, device="meta"), list(meta.positions))
    assert own.flops == guess.flops
    assert guess.saved_bytes == pytest.approx(own.saved_bytes, rel=0.02)
    assert guess.peak_bytes == pytest.approx(own.peak_bytes, rel=0.02)
    with FlopCounterMode(display=False) as counter:
        real(torch.rand(1, 3, 32, 32))
    assert own.flops == counter.get_total_flops()


class Attention(nn.Module):
    """Patches of 2 x 2 pixels, one layer of attention with 4 heads, and two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 2, stride=2)
        self.mix = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        mixed: torch.Tensor = self.mix(tokens, tokens, tokens, need_weights=False)[0]
        return self.head(mixed.mean(1))


def test_attention_costs_what_a_real_pass_of_it_costs() -> None:
    """Kernels never hold the square of scores, but they do compute it."""
    real, places = Attention(), 16 * 16
    meta = Attention().to("meta")
    own = measure_cost(real, torch.rand(2, 3, 32, 32), [real.mix])
    guess = measure_cost(meta, torch.empty(2, 3, 32, 32, device="meta"), [meta.mix])
    projections, scores = 4 * places * 16 * 16, 2 * places**2 * 16
    assert own.parts[0].flops == guess.parts[0].flops == 2 * 2 * (projections + scores)
    assert guess.saved_bytes == pytest.approx(own.saved_bytes, rel=0.02)
    assert guess.peak_bytes == pytest.approx(own.peak_bytes, rel=0.02)
    assert guess.saved_bytes < 4 * 2 * 4 * places**2  # the scores alone, of two images and 4 heads


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_description(name: str, variant: str) -> None:
    start = time.process_time()
    found = arches.describe(name, variant, measured=False)
    assert time.process_time() - start < 5
    with torch.device("meta"):
        model = arches.create(name, variant)
    assert found.totals.parameters == sum(p.numel() for p in model.parameters())
    assert sum(row.parameters for row in found.rows) == found.totals.parameters
    flops, kept = found.other
    assert sum(row.flops for row in found.rows) + flops == found.totals.flops
    assert sum(row.activation_bytes for row in found.rows) + kept == found.totals.activation_bytes
    assert [row.depth for row in found.rows] == sorted(row.depth for row in found.rows)
    if variant == "bu":
        assert set(found.ratios.values()) == {1.0}
    assert json.loads(json.dumps(found.as_dict()))["ratios"]["flops"] == found.ratios["flops"]
    text = found.text()
    assert max(len(line) for line in text.splitlines()) <= 100
    assert all(row.name in text for row in found.rows)


def test_description_with_measured_fields() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    found = arches.describe("nin_light", "td", in_chans=1, image_size=28)
    assert torch.equal(torch.get_rng_state(), state), "the caller's random state is left alone"
    assert [feature.name for feature in found.features] == ["act_1", "act_2", "act_3", "act_4"]
    assert found.rows[0].resolution == (7, 7)
    assert found.totals.parameters == 212_670
    assert found.ratios["parameters"] == pytest.approx(212_670 / 62_094)
    assert found == arches.describe("nin_light", "td", in_chans=1, image_size=28)
    assert "act_3" in found.text()
    for width in (80, 90, 100):
        assert max(map(len, found.text(width).splitlines())) <= width


def test_description_refuses_what_create_refuses() -> None:
    with pytest.raises(ValueError, match="Did you mean 'td'"):
        arches.describe("nin", "tdd")
    with pytest.raises(ValueError, match="too small"):
        arches.describe("nin", "td", image_size=3)
    with pytest.raises(ValueError, match="image_size"):
        arches.describe("nin", "td", image_size=0)


@pytest.mark.parametrize("name", arches.names())
@pytest.mark.parametrize("variant", ["bu", "td"])
def test_no_operation_is_cut_at_a_hundred_columns(name: str, variant: str) -> None:
    text = arches.describe(name, variant, measured=False).text(100)
    assert "~" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_row_of_the_scores_has_their_layer() -> None:
    head = arches.describe("nin_light", "td", in_chans=1, image_size=28, measured=False).rows[-1]
    assert (head.in_width, head.width, head.parameters) == (24, 10, 270)
    assert head.operation.startswith("conv 1x1")
