"""Operations against arithmetic by hand, and against the tables that timm publishes.

`tests/measures/timm_benchmark.csv` holds 51 lines of timm's own benchmark of its models (public
data: results/benchmark-infer-amp-nchw-pt291-cu130-pro6000maxq.csv of its repository): model, side
of the image, parameters in millions, GMACs, and activations in millions of elements, rounded to two
decimals.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import arches
from arches.analysis.operations import Operations, count_operations
from bench.models.deployed import deployed

TABLE = Path(__file__).parents[1] / "measures" / "timm_benchmark.csv"
with TABLE.open(encoding="utf-8") as stream:
    PUBLISHED = {row["model"]: row for row in csv.DictReader(stream)}

# One of each kind: plain and grouped convolutions, depthwise ones with squeeze and excitation,
# layer normalisation, standardised weights, branches that are folded, lists between stages.
FEW = ["regnetx_008", "spnasnet_100", "convnext_atto_ols", "skresnet18", "repvit_m0_9",
       "fastvit_t8", "test_convnext2", "hrnet_w18_small"]  # fmt: skip


def of(network: nn.Module, *shape: int) -> Operations:
    return count_operations(network.eval(), shape)


def test_convolutions_by_hand() -> None:
    network = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
    macs = 4 * 4 * 6 * 9 * 2  # 4 x 4 places, 6 channels of 9 pixels in 2 channels of the group
    assert of(network, 4, 8, 8) == Operations(2 * macs, macs, 6 * 16)
    up = nn.ConvTranspose2d(4, 6, 2, stride=2)
    assert of(up, 4, 8, 8) == Operations(2 * 64 * 4 * 6 * 4, 64 * 4 * 6 * 4, 6 * 256)
    assert of(nn.Conv1d(4, 6, 3), 4, 8).macs == 6 * 6 * 3 * 4
    assert of(nn.Conv2d(4, 6, 3, padding="same"), 4, 8, 8).macs == 64 * 6 * 9 * 4


def test_products_by_hand() -> None:
    assert of(nn.Linear(7, 5), 3, 2, 7) == Operations(2 * 6 * 35, 6 * 35, 30)
    assert of(nn.Linear(7, 5, bias=False), 7) == Operations(70, 35, 5)


class Attention(nn.Module):
    """Of 3 tokens with themselves, in 2 heads of 4 channels."""

    def forward(self, tokens: Tensor) -> Tensor:
        heads = tokens.unflatten(-1, (2, 4)).transpose(-3, -2)
        return F.scaled_dot_product_attention(heads, heads, heads)


class Reads(Attention):
    """Looks at a value, and is run on the CPU therefore."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens * (1.0 if tokens.max().item() < 9 else 2.0))


@pytest.mark.parametrize("network", [Attention(), Reads()])
def test_attention_is_counted_on_any_device(network: nn.Module) -> None:
    scores, mixed = 2 * 3 * 3, 2 * 3 * 4
    assert of(network, 3, 8).macs == scores * 4 + mixed * 3
    assert of(network, 3, 8).activations == scores + mixed


@pytest.mark.parametrize(
    ("network", "each"),
    [
        (nn.BatchNorm2d(4), 2),
        (nn.BatchNorm2d(4, affine=False), 1),
        (nn.BatchNorm2d(4, track_running_stats=False), 5),
        (nn.InstanceNorm2d(4), 4),
        (nn.GroupNorm(2, 4), 5),
        (nn.LayerNorm(8), 5),
        (nn.LayerNorm(8, elementwise_affine=False), 4),
        (nn.Upsample(scale_factor=3), 9),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 16),
        (nn.AdaptiveAvgPool2d(2), 1),
        (nn.ReLU(), 0),
        (nn.MaxPool2d(2), 0),
    ],
)
def test_other_layers_cost_what_fvcore_says(network: nn.Module, each: int) -> None:
    assert of(network, 4, 8, 8) == Operations(0, each * 4 * 64, 0)


def test_training_has_costs_of_its_own_and_nothing_is_left_behind() -> None:
    network = nn.BatchNorm2d(4).train()
    assert count_operations(network, (4, 8, 8)).macs == 5 * 256
    assert network.training
    assert network.num_batches_tracked == 0
    assert network.weight.device.type == "cpu"


def test_flops_are_those_of_the_description() -> None:
    network = arches.create("lenet_fc", "td", 1)
    assert of(network, 1, 28, 28).flops == arches.describe(network, image_size=28).totals.flops


def test_errors_of_a_network_are_its_own() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        of(nn.Linear(7, 5), 6)


def published(name: str) -> None:
    """Hold a model against its line: within 1 %, beside what rounding may have taken."""
    row = PUBLISHED[name]
    side = int(row["image_size"])
    network = arches.invert(f"timm/{name}", "bu", 3, 1000, side).eval()
    network = deployed(network, torch.zeros(1, 3, side, side))
    found = count_operations(network, (3, side, side))
    pairs = {
        "params_m": sum(p.numel() for p in network.parameters()) / 1e6,
        "gmacs": found.macs / 1e9,
        "activations_m": found.activations / 1e6,
    }
    for column, value in pairs.items():
        wanted = float(row[column])
        assert abs(value - wanted) <= 0.01 * wanted + 0.005, f"{column}: {value}, not {wanted}"


@pytest.mark.parametrize("name", FEW)
def test_a_few_models_agree_with_timms_table(name: str) -> None:
    published(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_all_models_agree_with_timms_table(name: str) -> None:
    published(name)


def test_the_table_is_whole() -> None:
    assert len(PUBLISHED) == 51
    assert set(FEW) <= set(PUBLISHED)
