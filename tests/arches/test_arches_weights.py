"""Weights out and in again, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import arches

ALL = [(name, variant) for name in arches.BACKBONES for variant in arches.VARIANTS]


def shaken(name: str, variant: str, seed: int = 0) -> arches.Network:
    """A network in which every weight and statistic is its own number."""
    torch.manual_seed(seed)
    model = arches.create(name, variant)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 1.0)
    return model.eval()


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_round_trip_is_exact_and_complete(name: str, variant: str) -> None:
    model, other = shaken(name, variant), shaken(name, variant, seed=1)
    arrays = arches.keras_weights(model)
    tensors = [t for t in model.state_dict().values() if t.is_floating_point()]
    assert sum(a.size for a in arrays.values()) == sum(t.numel() for t in tensors)
    assert len(arrays) == len(tensors)
    arches.load_keras_weights(other, arrays)
    for key, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], tensor), key


def test_names_and_layouts() -> None:
    td = arches.keras_weights(shaken("resnet32", "td"))
    assert td["t2.b0.proj/kernel"].shape == (1, 1, 64, 32)
    assert td["t2.b0.fuse.bn/moving_variance"].shape == (64,)
    assert td["t2.b0.fuse/kernel"].shape == (3, 3, 64, 32)
    assert td["dense/kernel"].shape == (16, 10)
    assert td["final.bn/gamma"].shape == (16,)
    assert not any("proj" in name for name in arches.keras_weights(shaken("resnet32", "td_uni")))
    nin = arches.keras_weights(shaken("nin_light", "bu"))
    assert nin["s1.c1/kernel"].shape == (5, 5, 3, 48)
    assert nin["cls.bn/beta"].shape == (10,)
    half = arches.keras_weights(shaken("resnet18_half", "td"))
    assert {"in16/kernel", "m8.fuse.bn/gamma", "m8.fuse/bias", "t8.b1.conv2/kernel"} <= set(half)


def test_arrays_are_copies() -> None:
    model = shaken("lenet_fc", "bu")
    arches.keras_weights(model)["cls/bias"][:] = 7
    assert (model.head.score.conv.bias < 7).all()


def test_every_wrong_entry_is_named_and_nothing_is_loaded() -> None:
    model = shaken("lenet_fc", "td")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    arrays = {name: array + 1 for name, array in arches.keras_weights(model).items()}
    del arrays["m2.proj/kernel"], arrays["cls.bn/gamma"]
    arrays["s1.c1/kernel"] = np.zeros((5, 5, 3, 6))
    arrays["in1/kernel"] = arrays["in1/kernel"].transpose(3, 2, 0, 1)
    with pytest.raises(ValueError, match="4 wrong weights") as caught:
        arches.load_keras_weights(model, arrays)
    message = str(caught.value)
    assert "missing: m2.proj/kernel" in message
    assert "missing: cls.bn/gamma" in message
    assert "superfluous: s1.c1/kernel" in message
    assert "shape of in1/kernel: (6, 3, 5, 5), the model has (5, 5, 3, 6)" in message
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in before)


def test_wider_precision_is_converted() -> None:
    model = shaken("lenet_fc", "bu")
    arrays = {k: v.astype(np.float64) for k, v in arches.keras_weights(model).items()}
    arches.load_keras_weights(model, arrays)
    assert next(model.parameters()).dtype == torch.float32


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_files(tmp_path: Path, layout: torch.memory_format) -> None:
    model = shaken("nin_light", "td_rev").to(memory_format=layout)
    other = shaken("nin_light", "td_rev", seed=1)
    path = tmp_path / "weights.safetensors"
    arches.save_weights(model, path, {"seed": "0"})
    arches.load_weights(other, path)
    for key, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], tensor), key
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.safetensors"]


def test_weights_that_are_shared_come_back_shared(tmp_path: Path) -> None:
    def tied() -> nn.Sequential:
        first, second = nn.Linear(4, 4), nn.Linear(4, 4)
        second.weight = first.weight
        return nn.Sequential(first, second)

    model, other = tied(), tied()
    path = tmp_path / "weights.safetensors"
    arches.save_weights(model, path)
    arches.load_weights(other, path)
    assert other[0].weight is other[1].weight
    x = torch.rand(2, 4)
    assert torch.equal(model(x), other(x))


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    arches.save_weights(shaken("lenet_fc", "td"), path)
    with pytest.raises(ValueError, match=r"missing: positions.0.*superfluous: positions.0"):
        arches.load_weights(shaken("resnet32", "td"), path)
    with pytest.raises(ValueError, match=r"shape of positions.0.stem.conv.weight"):
        arches.load_weights(shaken("lenet_fc", "td_rev"), path)
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(ValueError, match="not a safetensors file"):
        arches.load_weights(shaken("lenet_fc", "td"), path)
    with pytest.raises(FileNotFoundError):
        arches.load_weights(shaken("lenet_fc", "td"), tmp_path / "none")


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_text("old")
    with pytest.raises(Exception, match=r"."):
        arches.save_weights(shaken("lenet_fc", "bu"), path, {"bad": 1})  # type: ignore[dict-item]
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("bad", [np.zeros(6, complex), np.array(["x"] * 6), np.zeros(6, object)])
def test_what_is_no_real_number_is_refused_by_name_and_changes_nothing(bad: np.ndarray) -> None:
    model = arches.create("lenet_fc", "td", in_chans=1)
    before = arches.keras_weights(model)
    arrays = {name: array + 1 for name, array in before.items()} | {"in1/bias": bad}
    with pytest.raises(ValueError, match=r"type of in1/bias"):
        arches.load_keras_weights(model, arrays)
    after = arches.keras_weights(model)
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_arrays_of_the_other_byte_order_load() -> None:
    model = arches.create("lenet_fc", "bu", in_chans=1)
    arrays = {
        name: (array + 1).astype(">f4") for name, array in arches.keras_weights(model).items()
    }
    arches.load_keras_weights(model, arrays)
    for name, array in arches.keras_weights(model).items():
        assert np.array_equal(array, arrays[name])
