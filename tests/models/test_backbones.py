"""Backbones by name: the paper's, plugins, and what is said when one cannot be built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import arches
from bench.errors import BenchError, UnknownNameError
from bench.models import backbones

PLUGINS = '''
"""Backbones for tests."""
from torch import nn

def good(in_chans, num_classes, width=2):
    return nn.Sequential(nn.AdaptiveAvgPool2d(width), nn.Flatten(),
                         nn.Linear(in_chans * width**2, num_classes))

def strided(in_chans, num_classes, width=8):
    return nn.Sequential(nn.Conv2d(in_chans, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),
                         nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(),
                         nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, num_classes))

def broken(in_chans, num_classes):
    raise RuntimeError("no such layer\\nsecond line")

def wrong(in_chans, num_classes):
    return "a network, honestly"

number = 7
'''


@pytest.fixture(autouse=True)
def _plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model_plugins.py").write_text(PLUGINS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "model_plugins", raising=False)


@pytest.mark.parametrize("variant", ["bu", "td", "td_uni", "td_rev"])
def test_declared_networks_in_every_variant(variant: str) -> None:
    network = backbones.build("lenet_fc", variant, 2, 5, {"downsampling": "pool"})
    assert isinstance(network, arches.Network)
    assert network(torch.zeros(2, 2, 12, 12)).shape == (2, 5)


def test_a_plugin_gets_channels_classes_and_options() -> None:
    network = backbones.build("model_plugins:good", "bu", 3, 4, {"width": 5})
    assert network(torch.zeros(2, 3, 11, 11)).shape == (2, 4)
    assert isinstance(network, nn.Module)
    assert sum(p.numel() for p in network.parameters()) == 3 * 25 * 4 + 4


@pytest.mark.parametrize(
    ("name", "variant", "options", "message"),
    [
        (
            "lenet_fc",
            "upside_down",
            {},
            "unknown variant 'upside_down'. Choose from: bu, td, td_uni",
        ),
        ("lenet_fc", "td", {"dropuot": 0.1}, r"backbone 'lenet_fc' \(td\): .*dropuot.*dropout"),
        ("lenet_fc", "td", {"merge": "glue"}, r"backbone 'lenet_fc' \(td\): .*glue"),
        ("lenet_fc", "td", {"num_classes": 3}, r"backbone 'lenet_fc' \(td\): .*num_classes"),
        ("model_plugins:good", "td", {}, "one resolution only, nothing to invert"),
        ("model_plugins:good", "bu", {"depth": 3}, "cannot be built: TypeError: .*'depth'"),
        ("model_plugins:broken", "bu", {}, "cannot be built: RuntimeError: no such layer$"),
        ("model_plugins:wrong", "bu", {}, r"returned str, not a torch\.nn\.Module"),
        ("model_plugins:number", "bu", {}, "is not callable; a plugin is a function or class"),
        ("model_plugins:absent", "bu", {}, "does not import: AttributeError"),
        ("no_such_module_here:x", "bu", {}, "does not import: ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_built(
    name: str, variant: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        backbones.build(name, variant, 1, 10, options)


@pytest.mark.parametrize("variant", ["bu", "td"])
def test_an_unknown_name_gets_a_suggestion(variant: str) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown backbone 'lenet_cf'.*'lenet_fc'"):
        backbones.build("lenet_cf", variant, 1, 10, {})


def test_an_entry_point_is_inverted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "my_nets-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-nets\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bench.backbones]\nstrided = model_plugins:strided\n")
    monkeypatch.setattr(backbones, "REGISTRY", backbones.Backbones("backbone", {}))
    assert backbones.REGISTRY.find("strided").source == "my-nets"
    for variant in arches.VARIANTS:
        network = backbones.build("strided", variant, 2, 5, {"width": 4, "finest": 1}, 32)
        assert network(torch.zeros(2, 2, 32, 32)).shape == (2, 5)
        assert isinstance(network, arches.InvertedNetwork) == (variant != "bu")
    assert network.scales == (1, 2, 4)
    # The module as it is, unless it is to read small images with another stem.
    plain = backbones.build("strided", "bu", 2, 5, {"small_stem": True}, 32)
    assert isinstance(plain, arches.BottomUp)
    assert plain.forward_features(torch.zeros(2, 2, 32, 32))["act_1"].shape[-1] == 32
