"""From a text to a model, and what goes wrong on the way."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import arches
from arches.inversion import sources


def test_a_factory_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Path(__file__).with_name("nets.py").read_text(encoding="utf-8")
    (tmp_path / "my_nets.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for variant in arches.VARIANTS:
        network = arches.invert("my_nets:Functional", variant, 1, 5, 32, model={"width": 4})
        assert network(torch.rand(2, 1, 32, 32)).shape == (2, 5)
    with pytest.raises(ValueError, match="Did you mean 'residual'"):
        arches.invert("my_nets:residal")
    with pytest.raises(ValueError, match=r"callable as \(in_chans, num_classes"):
        arches.invert("my_nets:residual", model={"depth": 3})
    with pytest.raises(ValueError, match="returned str, not"):
        arches.invert("nets:no_module")


def test_wrong_names_get_near_ones() -> None:
    with pytest.raises(ValueError, match="torchvision/resnet18"):
        arches.invert("torchvision/resnet19")
    with pytest.raises(ValueError, match="write timm/<name>"):
        arches.invert("resnet18")
    with pytest.raises(ValueError, match="no_such_module"):
        arches.invert("no_such_module:net")


def test_timm_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"install the extra, pip install 'topdown-bench\[timm\]'"):
        arches.invert("timm/resnet18")


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "densenet121"])
def test_torchvision_with_other_channels(name: str) -> None:
    source = sources.load(f"torchvision/{name}", 2, 7)
    assert source.model.eval()(torch.rand(2, 2, 96, 96)).shape == (2, 7)


timm_only = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs timm")


@timm_only
@pytest.mark.parametrize(
    "name",
    ["resnet18", "mobilenetv3_small_050", "convnext_atto", "densenet121", "selecsls42", "dpn48b"],
)
def test_models_of_timm(name: str) -> None:
    network = arches.invert(f"timm/{name}", "td", in_chans=1, num_classes=7)
    assert network(torch.rand(2, 1, 64, 64)).shape == (2, 7)


@timm_only
def test_wrong_names_of_timm() -> None:
    with pytest.raises(ValueError, match=r"Did you mean timm/resnet18"):
        arches.invert("timm/resnet81")
