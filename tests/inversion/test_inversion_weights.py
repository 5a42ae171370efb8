"""Published weights: had from a file, missed without a network, and where they end up."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nets
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import arches
from bench.cli import main

timm = pytest.importorskip("timm")

NAME = "test_resnet"
WITHOUT = "cspresnet50d"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network and nothing from earlier downloads, whatever there is here."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def refuse(*_args: object, **_keywords: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def published(tmp_path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights of the model for 1000 classes, and the options that have timm read them."""
    torch.manual_seed(7)
    state = timm.create_model(NAME).state_dict()
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    overlay = {"pretrained_cfg_overlay": {"file": str(path)}}
    return state, {"pretrained": True, "model": overlay}


def invert(variant: str, num_classes: int = 10, **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    network = arches.invert(f"timm/{NAME}", variant, 3, num_classes, 32, **options)
    return network.state_dict()


def moved(state: dict[str, Tensor], found: dict[str, Tensor], stage: int = 2) -> list[bool]:
    """Which kernels of a block are those of the model."""
    # Stage n of four is position 3 - n, where it is the only block.
    home = f"positions.{3 - stage}.stage.parts.0."
    kernels = [name for name in found if name.startswith(home) and name.endswith("conv1.weight")]
    assert kernels
    names = [name.replace(home, f"layer{stage + 1}.0.").replace("inner.", "") for name in kernels]
    return [torch.equal(found[a], state[b]) for a, b in zip(kernels, names, strict=True)]


def test_bottom_up_has_them_all(published: tuple[dict[str, Tensor], dict[str, Any]]) -> None:
    state, options = published
    found = invert("bu", 1000, **options)
    assert found.keys() == {f"model.{name}" for name in state}
    assert all(torch.equal(found[f"model.{name}"], value) for name, value in state.items())


def test_other_classes_get_a_fresh_classifier(
    published: tuple[dict[str, Tensor], dict[str, Any]],
) -> None:
    state, options = published
    found = invert("bu", 10, **options)
    other = [name for name, value in state.items() if not same(found[f"model.{name}"], value)]
    assert other == ["fc.weight", "fc.bias"]
    assert found["model.fc.weight"].shape[0] == 10


def same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def test_top_down_has_them_where_asked_for(
    published: tuple[dict[str, Tensor], dict[str, Any]],
) -> None:
    state, options = published
    assert all(moved(state, invert("td", init="from_bu", **options)))
    assert not any(moved(state, invert("td", init="fresh", **options)))


def test_from_bu_without_published_weights_takes_the_models_fresh_ones() -> None:
    torch.manual_seed(0)
    state = timm.create_model(NAME, num_classes=10).state_dict()
    assert all(moved(state, invert("td", init="from_bu")))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"timm/{NAME}", "check your connection"),
        (f"timm/{WITHOUT}", "No pretrained weights exist"),
        ("torchvision/squeezenet1_1", "no network"),
    ],
)
@pytest.mark.parametrize("variant", ["bu", "td"])
def test_weights_that_cannot_be_had_are_refused_in_one_line(
    name: str, variant: str, reason: str
) -> None:
    with pytest.raises(arches.InversionError, match=reason) as caught:
        arches.invert(name, variant, image_size=32, pretrained=True, init="from_bu")
    assert caught.value.reason == "weights"
    assert str(caught.value).startswith(f"no published weights for {name} could be had: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.usefixtures("offline")
def test_fresh_top_down_networks_ask_for_no_weights() -> None:
    assert invert("td", pretrained=True)


@pytest.mark.usefixtures("offline")
def test_a_run_says_so_before_it_trains(
    tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    suite = tiny(
        ("[tiny_nets:linear]", f"[{{name: timm/{NAME}, pretrained: true}}]"),
        ("[tiny_sets:blobs]", "[{name: 'tiny_sets:blobs', image_size: 32}]"),
    )
    assert main(["run", str(suite)]) == 2
    assert f"no published weights for timm/{NAME} could be had" in capsys.readouterr().err
    assert main(["describe", f"timm/{NAME}", "--option", "pretrained=true"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"describe timm/{NAME}: no published weights")
    assert len(err.splitlines()) == 1


def frozen() -> nn.Module:
    """A fixed filter and a fixed gain among weights that are trained."""
    model = nets.residual(3, 10)
    edges = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).expand(16, 1, 3, 3)
    filters = nn.Conv2d(16, 16, 3, 1, 1, groups=16, bias=False)
    filters.weight = nn.Parameter(edges.clone(), requires_grad=False)
    model[4] = nn.Sequential(nn.Conv2d(16, 16, 1), filters)
    return model


def test_frozen_weights_among_others_are_constants() -> None:
    model = frozen()
    network = arches.invert(model, "td")
    [kept] = [value for value in network.parameters() if not value.requires_grad]
    assert torch.equal(kept, model[4][1].weight)
    assert not torch.equal(network.positions[1].stage.parts[-2].weight, model[4][0].weight)


@pytest.mark.parametrize("variant", ["td_uni", "td_rev"])
def test_frozen_weights_stay_frozen_at_another_width(variant: str) -> None:
    network = arches.invert(frozen(), variant, **({"width": 24} if variant == "td_uni" else {}))
    assert sum(not value.requires_grad for value in network.parameters()) == 1


def test_a_network_that_is_frozen_as_a_whole_is_drawn_anew() -> None:
    model = frozen().requires_grad_(False)
    network = arches.invert(model, "td", image_size=32)
    drawn = network.positions[1].stage.parts[-2].weight
    assert not torch.equal(drawn, model[4][0].weight)
