"""Weights from files: exact or refused, and never by running somebody's code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import arches
from bench.errors import BenchError
from bench.models import weights


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def same(one: nn.Module, other: nn.Module) -> bool:
    mine, yours = one.state_dict(), other.state_dict()
    return all(torch.equal(mine[name], yours[name]) for name in mine)


def saved(folder: Path, module: nn.Module, kind: str) -> Path:
    state = module.state_dict()
    path = folder / f"weights.{'safetensors' if kind == 'safetensors' else 'pt'}"
    if kind == "safetensors":
        save_file(state, path)
        return path
    checkpoints: dict[str, Any] = {
        "plain": state,
        "state_dict": {"state_dict": state, "epoch": 3, "lr": 0.1},
        "model": {"model": state, "optimizer": {"state": {}}},
        "model_state_dict": {"model_state_dict": state},
        "nested": {"state_dict": {"model": state}},
    }
    torch.save(checkpoints[kind], path)
    return path


@pytest.mark.parametrize(
    "kind", ["safetensors", "plain", "state_dict", "model", "model_state_dict", "nested"]
)
@pytest.mark.parametrize("network", ["plain", "lenet td"])
def test_weights_come_back_to_the_bit(tmp_path: Path, kind: str, network: str) -> None:
    def build() -> nn.Module:
        return small() if network == "plain" else arches.create("lenet_fc", "td", 1)

    source, target = build(), build()
    assert not same(source, target)
    path = saved(tmp_path, source, kind)
    weights.load_into(target, weights.read(path), str(path))
    assert same(source, target)


def refusal(module: nn.Module, tensors: dict[str, Tensor]) -> str:
    """The message, after a look that nothing was loaded."""
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(BenchError) as caught:
        weights.load_into(module, tensors, "w.pt")
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    return str(caught.value)


def test_everything_that_does_not_fit_is_named() -> None:
    given = small().state_dict()
    del given["0.bias"], given["1.running_mean"]
    given["3.weight"] = given["3.weight"].T
    given["extra"] = torch.zeros(1)
    assert refusal(small(), given) == (
        "w.pt: does not fit the network; missing: 0.bias, 1.running_mean; "
        "not of this network: extra; of another shape: 3.weight"
    )


def test_long_lists_are_cut() -> None:
    text = refusal(arches.create("lenet_fc", "bu", 1), {f"x{i}": torch.ones(1) for i in range(7)})
    assert "not of this network: x0, x1, x2, x3, x4 and 2 more" in text
    assert "missing: " in text


def test_no_tensors_at_all() -> None:
    assert "missing: 0.bias" in refusal(small(), {})


def test_the_prefix_of_data_parallel_is_taken_off(tmp_path: Path) -> None:
    source, target = small(), small()
    path = tmp_path / "parallel.pt"
    torch.save(nn.DataParallel(source).state_dict(), path)
    weights.load_into(target, weights.read(path), str(path))
    assert same(source, target)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_the_prefix_of_a_compiled_network_is_taken_off(prefix: str) -> None:
    source, target = small(), small()
    state = {f"{prefix}{name}": value for name, value in source.state_dict().items()}
    weights.load_into(target, state, "compiled.pt")
    assert same(source, target)


@pytest.mark.parametrize("kind", [torch.int8, torch.bool, torch.complex64])
def test_numbers_of_another_kind_are_refused(kind: torch.dtype) -> None:
    """Quantized weights, taken as they are, would be another network's."""
    given = {**small().state_dict(), "3.weight": torch.ones(3, 8).to(kind)}
    assert refusal(small(), given).endswith("; not of real numbers: 3.weight")


def test_a_network_that_itself_has_a_part_named_module() -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(2, 2)

    source, target = Holder(), Holder()
    weights.load_into(target, source.state_dict(), "own.pt")
    assert same(source, target)
    again = Holder()
    weights.load_into(again, nn.DataParallel(source).state_dict(), "parallel.pt")
    assert same(source, again)


def test_a_prefix_of_some_names_only_is_a_name() -> None:
    given = {"module.weight": torch.ones(2, 2), "bias": torch.zeros(2)}
    text = refusal(nn.Linear(2, 2), given)
    assert "missing: weight; not of this network: module.weight" in text


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("how", ["torch", "pickle", "inside"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, how: str) -> None:
    path, trap = tmp_path / "evil.pt", tmp_path / "trap"
    if how == "torch":
        torch.save(Evil(trap), path)
    elif how == "inside":
        torch.save({**small().state_dict(), "x": Evil(trap)}, path)
    else:
        path.write_bytes(pickle.dumps(Evil(trap), protocol=2))
    with pytest.raises(BenchError, match=r"evil\.pt: not a checkpoint of plain weights") as caught:
        weights.read(path)
    assert "\n" not in str(caught.value)
    assert not trap.exists()


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "module.pt"
    torch.save(small(), path)
    with pytest.raises(BenchError, match=r"not a checkpoint of plain weights.*safetensors"):
        weights.read(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"no weights, just text", b"PK\x03\x04 zip?"])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_files_that_are_no_weights(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BenchError, match=f"{name}: not a"):
        weights.read(path)


@pytest.mark.parametrize("kind", ["safetensors", "plain"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_files(tmp_path: Path, kind: str, share: float) -> None:
    path = saved(tmp_path, small(), kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BenchError, match=f"{path.name}: not a"):
        weights.read(path)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_files_that_are_not_there_or_folders(tmp_path: Path, name: str) -> None:
    with pytest.raises(BenchError, match=f"{name}: no such weights file"):
        weights.read(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(BenchError, match=f"{name}: cannot be read: .*(directory|device)"):
        weights.read(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds no state dict"),
        ([torch.ones(1)], "holds no state dict"),
        (torch.ones(1), "holds no state dict"),
        ({"state_dict": {}}, "holds no state dict"),
        ({"epoch": 3, "net": {"w": torch.ones(1)}}, "holds other things than tensors"),
    ],
)
def test_checkpoints_without_a_state_dict(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "w.pt"
    torch.save(content, path)
    with pytest.raises(BenchError, match=rf"w\.pt: {message}"):
        weights.read(path)
