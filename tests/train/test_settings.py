"""What `mode`, `precision` and `channels_last` of a recipe come to, and that it is recorded."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from train_parts import CPU, corner_set, lenet, linear

import arches
from bench.models import hardware
from bench.models import settings as module
from bench.models.network import wrap
from bench.models.settings import Settings, mode_of, settle
from bench.suite.recipe import Recipe
from bench.train.optimizer import optimizer
from bench.train.step import why_eager
from bench.train.trainer import train


def net() -> nn.Module:
    return arches.create("lenet_fc", "td", in_chans=1)


class OwnPooling(nn.Module):
    """Somebody's own code: `view` cannot be done in channels_last."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.view(maps.shape[0], -1)


def own(side: int = 12) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), OwnPooling(), nn.Linear(4 * (side - 2) ** 2, 4))


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_bf16_where_the_device_has_it_and_channels_last(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "computes_bf16", lambda device: native)
    expected = Settings("deterministic", "bf16" if native else "fp32", True, True)
    assert settle(Recipe(), CPU, arches.create("nin_light", "td", in_chans=1)) == expected
    assert settle(Recipe(), CPU, own()) == Settings("deterministic", "fp32", False, False)


def test_narrow_networks_stay_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 costs them accuracy; the layout costs nothing."""
    monkeypatch.setattr(module, "computes_bf16", lambda device: True)
    for variant in arches.VARIANTS:
        found = settle(Recipe(), CPU, arches.create("lenet_fc", variant, in_chans=1))
        assert (found.precision, found.channels_last) == ("fp32", True)
    widths = (23, 23, 24, 24, 24)
    wide = nn.Sequential(*(nn.Conv2d(a, b, 1) for a, b in zip((3, *widths), widths, strict=False)))
    assert settle(Recipe(), CPU, wide).precision == "bf16"
    assert settle(Recipe(), CPU, wide[:4]).precision == "fp32"
    assert settle(Recipe(), CPU, nn.Sequential(nn.Flatten(), nn.Linear(4, 2))).precision == "bf16"


@pytest.mark.parametrize(
    ("name", "variant"),
    [("torchvision/resnet18", "bu"), ("torchvision/resnet18", "td"), ("lenet_fc", "bu")],
)
def test_known_code(name: str, variant: str) -> None:
    build = arches.invert if "/" in name else arches.create
    network: nn.Module = build(name, variant, 3, 10)
    assert module.is_known_code(network)
    assert not module.is_known_code(nn.Sequential(network, OwnPooling()))
    assert not module.is_known_code(torch.fx.symbolic_trace(own()))


class OwnNet(nn.Module):
    """Somebody's own network of plain layers of PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.deep(self.down(self.stem(x))).mean((2, 3)))


@pytest.mark.parametrize("variant", arches.VARIANTS)
@pytest.mark.parametrize("traced", [False, True])
def test_all_variants_of_a_network_are_trained_in_the_same_settings(
    variant: str, traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inverted, it consists of layers of PyTorch, and the code around them is gone."""
    monkeypatch.setattr(module, "computes_bf16", lambda device: True)
    network = torch.fx.symbolic_trace(OwnNet()) if traced else OwnNet()
    expected = Settings("deterministic", "fp32", False, False)
    assert settle(Recipe(), CPU, network) == expected
    inverted = arches.invert(network, variant, 3, 4, 32)
    assert settle(Recipe(), CPU, inverted) == expected
    assert settle(Recipe(), CPU, nn.Sequential(copy.deepcopy(inverted))) == expected


@pytest.mark.parametrize("variant", ["bu", "td"])
def test_what_the_inversion_traces_of_known_code_is_known(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head of this one is kept as a graph."""
    monkeypatch.setattr(module, "computes_bf16", lambda device: True)
    inverted = arches.invert("torchvision/densenet121", variant, 3, 10)
    assert settle(Recipe(), CPU, inverted) == Settings("deterministic", "bf16", True, True)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("last", [True, False])
def test_what_the_recipe_says_is_done_whatever_the_code_and_hardware(
    precision: str, last: bool
) -> None:
    recipe = Recipe.model_validate({"precision": precision, "channels_last": last})
    for network in (net(), own()):
        found = settle(recipe, CPU, network)
        assert (found.precision, found.channels_last) == (precision, last)


@pytest.mark.parametrize(
    ("mode", "device", "expected"),
    [
        (None, "cpu", "deterministic"),
        (None, "cuda:1", "fast"),
        ("deterministic", "cuda", "deterministic"),
        ("fast", "cpu", "fast"),
    ],
)
def test_the_mode_follows_the_device_unless_the_recipe_names_it(
    mode: Any, device: str, expected: str
) -> None:
    assert mode_of(Recipe(mode=mode), torch.device(device)) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx2", "avx512_bf16"}, True), ({"amx_bf16"}, True), ({"avx512f", "avx512_vnni"}, False)],
)
def test_native_bf16_of_a_cpu_is_read_off_its_flags(
    flags: set[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))
    assert hardware.computes_bf16(CPU) is expected


def test_flags_are_those_that_torch_sees() -> None:
    told = getattr(torch.cpu, "get_capabilities", dict)()
    for flag in ("avx2", "avx512_bf16", "amx_bf16"):
        if hardware.cpu_flags() and flag in told:
            assert (flag in hardware.cpu_flags()) == told[flag], flag


def test_what_was_used_is_told() -> None:
    dataset = corner_set(16)
    for given, expected in (
        (Recipe(epochs=1), settle(Recipe(), CPU, net()).facts()),
        (
            Recipe(epochs=1, mode="fast", precision="bf16", channels_last=False),
            {"mode": "fast", "precision": "bf16", "memory_format": "contiguous"},
        ),
    ):
        facts = dict(train(wrap(lenet(dataset), dataset, given), dataset, given, 0, CPU).facts)
        assert facts.pop("threads") == (1 if facts["mode"] == "deterministic" else THREADS)
        assert facts == {**expected, "cuda_graph": False}


THREADS = torch.get_num_threads()


def test_own_code_that_stands_no_channels_last_trains_by_default() -> None:
    dataset, recipe = corner_set(16), Recipe(epochs=1)
    train(wrap(own(), dataset, recipe), dataset, recipe, 0, CPU)
    told = recipe.model_copy(update={"channels_last": True})
    with pytest.raises(RuntimeError, match="view"):
        train(wrap(own(), dataset, told), dataset, told, 0, CPU)


def test_weights_are_updated_in_one_call() -> None:
    dataset, recipe = corner_set(8, side=6), Recipe()
    network = wrap(linear(dataset), dataset, recipe)
    assert optimizer(network, recipe, CPU).defaults["fused"] is True


@pytest.mark.parametrize(
    ("given", "device", "expected"),
    [
        (Settings("fast", "bf16", True, True), "cuda:1", None),
        (Settings("fast", "bf16", True, True), "cpu", ""),
        (Settings("deterministic", "bf16", True, True), "cuda", ""),
        (Settings("fast", "bf16", True, False), "cuda", "no CUDA graph: code of others"),
        (Settings("fast", "fp16", True, True), "cuda", "no CUDA graph: fp16"),
    ],
)
def test_what_is_tried_to_capture(given: Settings, device: str, expected: str | None) -> None:
    found = why_eager(given, torch.device(device))
    assert found == expected or (expected and found and found.startswith(expected))
