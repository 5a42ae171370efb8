"""Cost of networks that people write themselves, against counting by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from test_efficiency import figures
from torch import Tensor, nn
from torch.nn import functional as F

import arches
from bench.models import main_memory

SIDE, GRID, WIDE = 32, 8, 4
PLACES = GRID * GRID
HEAD = 3 * WIDE


class Tokens(nn.Module):
    """A convolution of patches to four channels, a layer on their sequence, a mean, a head."""

    reads = False

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, WIDE, 4, stride=4)
        self.head = nn.Linear(WIDE, 3)
        self.make()

    def make(self) -> None:
        """Make what `mixed` needs."""

    def mixed(self, tokens: Tensor) -> Tensor:
        return tokens

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        if self.reads and maps.sum().item() > 1e9:
            maps = maps + 1
        tokens = maps.flatten(2).transpose(1, 2).contiguous()
        logits: Tensor = self.head(self.mixed(tokens).mean(1))
        return logits


STEM = PLACES * 16 * WIDE


class Recurrent(Tokens):
    def make(self) -> None:
        self.layer = nn.LSTM(WIDE, WIDE, batch_first=True)

    def mixed(self, tokens: Tensor) -> Tensor:
        mixed: Tensor = self.layer(tokens)[0]
        return mixed


class Encoder(Tokens):
    def make(self) -> None:
        self.layer = nn.TransformerEncoderLayer(WIDE, 2, 8, dropout=0.0, batch_first=True)

    def mixed(self, tokens: Tensor) -> Tensor:
        mixed: Tensor = self.layer(tokens)
        return mixed


class Fused(Tokens):
    def mixed(self, tokens: Tensor) -> Tensor:
        one = tokens[:, None]
        return F.scaled_dot_product_attention(one, one, one)[:, 0]


class Gated(Tokens):
    def make(self) -> None:
        self.layer = nn.Bilinear(WIDE, WIDE, WIDE)

    def mixed(self, tokens: Tensor) -> Tensor:
        mixed: Tensor = self.layer(tokens, tokens.contiguous())
        return mixed


# The weights times one input give a square matrix for each place, that times the other the output.
GATED = PLACES * WIDE * WIDE * (WIDE + 1)
# Of an LSTM: four gates, from the input and from the state.
LSTM = PLACES * 4 * WIDE * (WIDE + WIDE)
ATTENTION = 2 * PLACES * PLACES * WIDE
# Query, key, value and the projection; attention; and two dense layers.
ENCODER = PLACES * 4 * WIDE * WIDE + ATTENTION + 2 * PLACES * WIDE * 8


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize(
    ("kind", "products"),
    [(Recurrent, LSTM), (Encoder, ENCODER), (Fused, ATTENTION), (Gated, GATED)],
)
def test_operations_are_the_same_whether_a_network_reads_values(
    kind: type[Tokens], products: int, reads: bool
) -> None:
    """PyTorch's fast kernels hide matrix products; a network that reads values is really run."""
    network = kind()
    network.reads = reads
    assert figures(network, side=SIDE)["flops"] == 2 * (STEM + products + HEAD)
    described = arches.describe(network, None, 1, 3, SIDE, measured=False)
    assert described.totals.flops == 2 * (STEM + products + HEAD)


@pytest.mark.parametrize("kind", [Recurrent, Encoder, Fused, Gated])
def test_memory_is_the_same_whether_a_network_reads_values(kind: type[Tokens]) -> None:
    plain, reading = kind(), kind()
    reading.reads = True
    one, other = (figures(network, side=SIDE, batch_size=16) for network in (plain, reading))
    for name in ("train_memory", "inference_memory"):
        assert one[name] == pytest.approx(other[name], rel=0.01), name


def test_fused_attention_holds_no_square_of_the_places() -> None:
    found = figures(Fused(), side=96, batch_size=4)
    square = 4 * 4 * (24 * 24) ** 2
    assert found["train_memory"] < square / 4


@pytest.mark.parametrize("name", ["lenet_fc", "nin_light"])
def test_memory_by_depth_is_that_of_the_description(name: str) -> None:
    network = arches.create(name, "td", 1)
    found = figures(network, batch_size=4)
    rows: dict[str, float] = {}
    for row in arches.describe(network, image_size=28, measured=False).rows:
        key = f"kept_bytes[depth {row.depth}]"
        rows[key] = rows.get(key, 0) + row.activation_bytes
    assert {key: value for key, value in found.items() if "kept_bytes" in key} == rows
    # Besides, images and weights are held, and what is held for a moment.
    assert 0.6 * found["train_memory"] < 4 * sum(rows.values()) < found["train_memory"]


def test_a_recurrent_layer_keeps_more_than_its_arithmetic_needs() -> None:
    """Its kernel has a work space, which autograd keeps: fp32 and bf16 are of the same program."""
    fp32, bf16 = (
        figures(Recurrent(), side=SIDE, batch_size=16, modes=[{"precision": name}])
        for name in ("fp32", "bf16")
    )
    assert fp32["train_memory"] > 0.6 * bf16["train_memory"]


class Narrow(Tokens):
    """Has no memory for more than 8 images, it says."""

    def mixed(self, tokens: Tensor) -> Tensor:
        if len(tokens) > 8:
            raise MemoryError
        return tokens


def test_a_network_with_a_limit_of_its_own_backs_off() -> None:
    found = figures(Narrow(), side=SIDE, batch_size=32, resident=True)
    names = ("train_batch_size", "train_batch_size[resident]", "inference_batch_size", "batch_size")
    assert [found[name] for name in names] == [8, 8, 8, 8]
    assert found["train_memory_resident"] > 0
    assert found["flops"] == 2 * (STEM + HEAD)


def test_resident_memory_is_of_a_batch_that_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = figures(Tokens(), side=SIDE, batch_size=64)["train_memory"]
    monkeypatch.setattr(main_memory, "available", lambda: whole / 2)
    found = figures(Tokens(), side=SIDE, batch_size=64, resident=True)
    assert found["train_batch_size"] == 64  # arithmetic on shapes
    assert 2 <= found["train_batch_size[resident]"] <= 32


class Notes(Tokens):
    """Notes where it is run in training mode."""

    seen: ClassVar[set[str]] = set()

    def mixed(self, tokens: Tensor) -> Tensor:
        if self.training:
            self.seen.add(tokens.device.type)
        return tokens


def test_training_memory_is_arithmetic_on_shapes() -> None:
    """No pass of 128 images, which may not fit, is made for it."""
    Notes.seen.clear()
    assert figures(Notes(), side=SIDE)["train_batch_size"] == 4
    assert Notes.seen == {"meta"}


class Picky(Tokens):
    """Wants a device of its choice, in its own words."""

    def __init__(self, how: str) -> None:
        self.how = how
        super().__init__()

    def mixed(self, tokens: Tensor) -> Tensor:
        kind = tokens.device.type
        if self.how == "assert":
            assert kind in {"cpu", "cuda"}
        elif self.how == "key":
            return tokens * {"cpu": 1, "cuda": 1}[kind]
        elif kind == "meta":
            raise AttributeError("no values here")
        return tokens


@pytest.mark.parametrize("how", ["assert", "key", "attribute"])
def test_networks_that_refuse_shapes_are_run(how: str) -> None:
    found = figures(Picky(how), side=SIDE)
    assert found["flops"] == 2 * (STEM + HEAD)
    assert found["train_memory"] > 0


class OfOneTensor(Tokens):
    """Its tables are parts of one tensor of 1,000 numbers."""

    def make(self) -> None:
        whole = torch.randn(1000)
        for number in range(60):
            self.register_buffer(f"part{number}", whole[16 * number : 16 * (number + 1)])


def test_what_shares_its_memory_counts_once() -> None:
    plain, sharing = (figures(kind(), side=SIDE) for kind in (Tokens, OfOneTensor))
    for name in ("train_memory", "inference_memory"):
        assert sharing[name] == plain[name] + 4 * 1000, name


def test_parameters_of_a_frozen_network_that_is_folded() -> None:
    """Folding takes weights away; what is left of a frozen network is still frozen."""
    timm = pytest.importorskip("timm")
    network = timm.create_model("repvgg_a0", in_chans=1, num_classes=10)
    whole = figures(network)["parameters"]
    head = sum(weight.numel() for weight in network.head.parameters())
    network.requires_grad_(False)
    assert figures(network)["parameters"] == 0
    network.head.requires_grad_(True)
    assert figures(network)["parameters"] == head
    network.requires_grad_(True)
    network.head.requires_grad_(False)
    assert figures(network)["parameters"] == whole - head


class Volumes(Tokens):
    def make(self) -> None:
        self.layer = nn.Conv3d(1, 1, 3, padding=1)

    def mixed(self, tokens: Tensor) -> Tensor:
        maps: Tensor = self.layer(tokens.view(len(tokens), 1, GRID, GRID, WIDE))
        return maps.flatten(1).view_as(tokens)


@pytest.mark.parametrize("mode", ["default", {"channels_last": True}])
def test_convolutions_of_volumes_have_no_such_layout(mode: Any) -> None:
    found = figures(Volumes(), side=SIDE, modes=[mode])
    assert found["macs"] == STEM + PLACES * WIDE * 27 + HEAD


class ByTheBatch(Tokens):
    """Normalises by the batch's own statistics, in inference too: one image has none."""

    def make(self) -> None:
        self.norm = nn.BatchNorm1d(WIDE, track_running_stats=False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.stem(images).mean((2, 3))))
        return logits


def test_a_network_that_cannot_do_a_single_image() -> None:
    """The operations are half of those of two images; there is no latency of one."""
    alone = figures(ByTheBatch(), side=SIDE, batch_size=1, batch_sizes=[1, 2])
    batches = ("batch_size", "train_batch_size", "inference_batch_size", "asked_batch_size")
    assert [alone[name] for name in batches] == [2, 2, 2, 1]
    assert alone["images_per_second"] > 0
    described = arches.describe(ByTheBatch(), None, 1, 3, SIDE, measured=False)
    assert described.totals.flops == 2 * (STEM + HEAD)
    found = figures(ByTheBatch(), side=SIDE, batch_sizes=[1, 2])
    assert found["flops"] == 2 * (STEM + HEAD)
    assert found["images_per_second"] > 0
    assert "images_per_second[2]" in found
    assert not {"latency", "latency_samples", "images_per_second[1]"} & set(found)


class LikesTwo(ByTheBatch):
    def make(self) -> None:
        self.norm = nn.BatchNorm1d(WIDE)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_needs_two_images_for_batch_statistics(precision: str) -> None:
    network = LikesTwo()
    modes: Any = [{"precision": precision}]
    found = figures(network, side=SIDE, batch_size=1, modes=modes, resident=True)
    assert found["train_batch_size"] == 2
    assert found["inference_batch_size"] == found["batch_size"] == found["asked_batch_size"] == 1
    assert (
        found["train_memory"]
        == figures(network, side=SIDE, batch_size=2, modes=modes)["train_memory"]
    )


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the load is read in /proc")
def test_short_timings_tell_the_load_together() -> None:
    found = figures(Tokens(), side=SIDE, seconds=0.05, batch_sizes=[1, 2, 3, 5])
    assert 0 <= found["other_load"] <= 100


def test_the_counts_come_with_the_default_mode() -> None:
    """Another mode may fail, as where there is no compiler."""
    given: Any = {"modes": [{"precision": "bf16"}, "default"]}
    bf16, plain = (figures(Tokens(), side=SIDE, place=place, **given) for place in (0, 1))
    assert "parameters" not in bf16
    assert plain["flops"] == 2 * (STEM + HEAD)


@pytest.mark.slow
def test_a_compiled_network_is_compiled_for_each_batch() -> None:
    """PyTorch takes a second batch for the first of many and makes slower code for any size."""
    from torch._dynamo.utils import clear_compilation_metrics, get_compilation_metrics

    clear_compilation_metrics()
    figures(Tokens(), side=SIDE, modes=[{"compile": True}], batch_sizes=[2, 8])
    found = get_compilation_metrics()
    assert len(found) >= 4
    assert not [compiled.recompile_reason for compiled in found if compiled.recompile_reason]
