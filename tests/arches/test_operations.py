"""Operations against arithmetic by hand, and against the tables that timm publishes.

`tests/measures/timm_benchmark.csv` holds 51 lines of timm's own benchmark of its models (public
data: results/benchmark-infer-amp-nchw-pt291-cu130-pro6000maxq.csv of its repository): model, side
of the image, parameters in millions, GMACs, and activations in millions of elements, rounded to two
decimals.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

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


class Multiplied(nn.Module):
    """Computes one thing from an image of 16 channels of 8 x 8 pixels, taken as 64 tokens."""

    def __init__(self, product: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(16, 16))
        self.product = product

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.product(image.flatten(1).T, self.weight) for image in images])


@pytest.mark.parametrize(
    ("product", "macs", "activations"),
    [
        (lambda tokens, weight: tokens @ weight[0], 64 * 16, 64),
        (lambda tokens, weight: torch.addmv(tokens[:, 0], tokens, weight[0]), 64 * 16, 64),
        (lambda tokens, weight: tokens[0] @ weight[0], 16, 1),
        (lambda tokens, weight: torch.vdot(tokens[0], weight[0]), 16, 1),
        (
            lambda tokens, weight: torch.addbmm(
                weight, tokens.view(4, 16, 16), tokens.view(4, 16, 16)
            ),
            4 * 16**3,
            256,
        ),
    ],
    ids=["mv", "addmv", "dot", "vdot", "addbmm"],
)
def test_every_product_counts_in_a_count_and_in_an_estimate(
    product: Callable[[Tensor, Tensor], Tensor], macs: int, activations: int
) -> None:
    network = Multiplied(product)
    assert of(network, 16, 8, 8) == Operations(2 * macs, macs, activations)
    assert arches.estimate(network, 8, 16).flops == 2 * macs


class OfWeights(nn.Module):
    """Makes its weights from others, once for a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(16, 16))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) @ (self.weight @ self.weight)


def test_products_of_weights_alone_are_those_of_one_image() -> None:
    macs = 16**3 + 16**2
    assert of(OfWeights(), 16, 8, 8).macs == macs
    assert arches.estimate(OfWeights(), 8, 16).flops == 2 * macs
    described = arches.describe(OfWeights(), None, 16, 16, 8, measured=False)
    assert described.totals.flops == 2 * macs


class Frozen(nn.Module):
    """Sees by a network that is in inference mode always, and learns a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.eyes = nn.Sequential(
            nn.Conv2d(16, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 4)
        )
        self.head = nn.Linear(4, 2)

    @torch.inference_mode()
    def see(self, images: Tensor) -> Tensor:
        return self.eyes(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.see(images).clone())


def test_layers_in_inference_mode_count() -> None:
    macs = 36 * 8 * 144 + 288 * 4 + 4 * 2
    assert of(Frozen(), 16, 8, 8) == Operations(2 * macs, macs + 2 * 288, 288 + 4 + 2)
    assert arches.estimate(Frozen(), 8, 16).flops == 2 * macs


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_layers_that_were_traced_or_scripted_count() -> None:
    plain = nn.Sequential(nn.Conv2d(16, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)).eval()
    macs = 36 * 8 * 144 + 288 * 4
    for network in (torch.jit.trace(plain, torch.rand(1, 16, 8, 8)), torch.jit.script(plain)):
        assert of(nn.Sequential(network), 16, 8, 8) == Operations(2 * macs, macs, 288 + 4)


class Deformed(nn.Module):
    """A convolution with 3 x 3 weights whose places are computed by another one."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Conv2d(16, 18, 3, padding=1)
        self.conv = DeformConv2d(16, 8, 3, padding=1, groups=2)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images, self.places(images))


def test_deformed_convolutions_count() -> None:
    macs = 64 * 9 * (16 * 18 + 8 * 8)
    assert of(Deformed(), 16, 8, 8) == Operations(2 * macs, macs, 64 * (18 + 8))
    assert arches.estimate(Deformed(), 8, 16).flops == 2 * macs


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
        (nn.InstanceNorm2d(4, affine=True), 5),
        (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), 2),
        (nn.GroupNorm(2, 4), 5),
        (nn.LayerNorm(8), 5),
        (nn.LayerNorm(8, elementwise_affine=False), 4),
        (nn.Upsample(scale_factor=3), 9),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 16),
        (nn.AdaptiveAvgPool2d(2), 1),
        (nn.AdaptiveAvgPool2d(1), 0),
        (nn.ReLU(), 0),
        (nn.MaxPool2d(2), 0),
    ],
)
def test_other_layers_cost_what_is_documented(network: nn.Module, each: int) -> None:
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


# Side and width of the image, and the sides to which it is scaled down for the other branches,
# by a matrix from each side, which top-down variants alone do.
SCALED = {"lenet_fc": (28, 1, (14, 7)), "nin_light": (32, 3, (16, 8))}


@pytest.mark.parametrize("variant", list(arches.VARIANTS))
@pytest.mark.parametrize("name", SCALED)
def test_networks_of_the_paper_layer_by_layer(name: str, variant: str) -> None:
    side, width, smaller = SCALED[name]
    network = arches.create(name, variant, width).eval()
    found: list[int] = []

    def ran(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        if isinstance(layer, nn.Conv2d):
            found.append(output.numel() * layer.weight[0].numel())

    handles = [layer.register_forward_hook(ran) for layer in network.modules()]
    with torch.no_grad():
        network(torch.rand(1, width, side, side))
    for handle in handles:
        handle.remove()
    scales = sum(width * (out * side * side + out * side * out) for out in smaller)
    macs = sum(found) + (0 if variant == "bu" else scales)
    assert of(network, width, side, side).flops == 2 * macs
    assert arches.describe(network, image_size=side, measured=False).totals.flops == 2 * macs


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
