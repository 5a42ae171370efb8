"""Data parallelism: every process ends with the gradients of one process that sees all images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import arches

SIDE, CLASSES, EACH, STEPS = 32, 5, 4, 2
QUICK = ("nets:residual", "nets:Functional", "torchvision/mobilenet_v3_small")
LARGE = ("torchvision/resnet18", "torchvision/squeezenet1_1", "torchvision/convnext_tiny")


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return arches.invert(name, "td", num_classes=CLASSES, image_size=SIDE).train()


def shard(rank: int, step: int) -> tuple[Tensor, Tensor]:
    """The images and labels of a process."""
    random = torch.Generator().manual_seed(100 * step + rank)
    images = torch.randn(EACH, 3, SIDE, SIDE, generator=random)
    return images, torch.randint(CLASSES, (EACH,), generator=random)


def backward(network: nn.Module, rank: int, step: int) -> None:
    images, labels = shard(rank, step)
    torch.manual_seed(rank)  # of dropout and stochastic depth
    cross_entropy(network(images), labels).backward()


def descend(network: nn.Module) -> dict[str, Tensor]:
    """A step against the gradients, which are handed back."""
    found = {}
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        found[name] = parameter.grad.clone()
        with torch.no_grad():
            parameter -= 0.01 * parameter.grad
    network.zero_grad(set_to_none=True)
    return found


def expected(name: str, processes: int) -> list[dict[str, Tensor]]:
    """The gradients of each step in one process: the mean over the parts of the batch."""
    network, found = build(name), []
    for step in range(STEPS):
        for rank in range(processes):
            backward(network, rank, step)
        for parameter in network.parameters():
            assert parameter.grad is not None
            parameter.grad /= processes
        found.append(descend(network))
    return found


def work(rank: int, processes: int, names: tuple[str, ...], folder: str) -> None:
    """What each process does."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    meeting = (Path(folder) / "meeting").as_uri()
    distributed.init_process_group("gloo", meeting, rank=rank, world_size=processes)
    try:
        for number, name in enumerate(names):
            network = DistributedDataParallel(build(name))
            for step in range(STEPS):
                backward(network, rank, step)
                save_file(descend(network.module), Path(folder) / f"{number}-{step}-{rank}")
    finally:
        distributed.destroy_process_group()


def check(names: tuple[str, ...], processes: int, folder: Path) -> None:
    for number, name in enumerate(names):
        for step, own in enumerate(expected(name, processes)):
            for rank in range(processes):
                found = load_file(folder / f"{number}-{step}-{rank}")
                assert found.keys() == own.keys()
                for key, gradient in own.items():
                    # Sums in another order; the second step starts from weights that differ so.
                    close = torch.allclose(found[key], gradient, rtol=1e-3, atol=1e-4)
                    assert close, f"{name}, step {step}, process {rank}: {key}"


def test_gradients_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    threads = torch.get_num_threads()
    try:
        work(0, 1, QUICK, str(tmp_path))
        check(QUICK, 1, tmp_path)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("names", [QUICK, LARGE], ids=["small", "large"])
def test_gradients_of_two_processes(names: tuple[str, ...], tmp_path: Path) -> None:
    multiprocessing.spawn(work, (2, names, str(tmp_path)), nprocs=2)
    check(names, 2, tmp_path)
