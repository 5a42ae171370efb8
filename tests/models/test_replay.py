"""Predictions as replays of CUDA graphs of a few batch sizes: the same numbers, less launched.

Without a GPU a graph is stood in for by a record of what is to be done again on the same tensors.
"""

from __future__ import annotations

import contextlib
import gc
import time

import pytest
import torch
from recorded_graphs import Recorder, stand_in
from torch import Tensor, nn

import arches
from bench.attacks.pgd import _gradient
from bench.models.cudnn import exact
from bench.models.graph import Inputs
from bench.models.replay import Replays

CUDA = torch.device("cuda")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)


class Asked:
    """Some function of a network's logits; the host takes `eager` seconds to launch it, and a
    replay `again`."""

    def __init__(self, network: nn.Module, eager: float = 0.002, again: float = 0.0) -> None:
        self.network, self.eager, self.again = network, eager, again
        self.sizes: list[int] = []  # of all batches that were launched
        self.captured: list[int] = []

    @torch.no_grad()
    def __call__(self, images: Tensor, more: Inputs) -> tuple[Tensor, Tensor]:
        self.sizes.append(len(images))
        time.sleep(self.eager)
        logits = self.network(images)
        wrong = logits.argmax(1) != more["labels"]
        if Recorder.recording is not None:
            self.captured.append(len(images))
            Recorder.recording.calls.append(lambda: self.redo(images, more, logits, wrong))
        return logits, wrong

    @torch.inference_mode()
    def redo(self, images: Tensor, more: Inputs, logits: Tensor, wrong: Tensor) -> None:
        time.sleep(self.again)
        logits.copy_(self.network(images))
        wrong.copy_(logits.argmax(1) != more["labels"])


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return arches.create("lenet_fc", "bu", in_chans=1, num_classes=10).eval()


def check(replays: Replays, asked: Asked, count: int) -> None:
    images, labels = torch.rand(count, 1, 28, 28), torch.randint(0, 10, (count,))
    logits, wrong = replays(asked, "asked", images, labels=labels)
    with torch.no_grad():
        expected = asked.network(images)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert wrong.tolist() == (logits.argmax(1) != labels).tolist()


@pytest.mark.usefixtures("device")
def test_ever_fewer_images_are_replays_of_a_few_sizes(network: nn.Module) -> None:
    replays, asked = Replays(network, 20, CUDA), Asked(network)
    for count in range(20, 0, -1):
        for _ in range(5):
            check(replays, asked, count)
    assert asked.captured == [20, 15, 10, 8, 5, 4, 3, 2, 1]
    before = len(asked.sizes)
    for count in (1, 2, 7, 11, 13, 20):
        check(replays, asked, count)
    assert len(asked.sizes) == before


@pytest.mark.usefixtures("device")
def test_graphs_of_all_sizes_share_a_stream_and_memory(network: nn.Module) -> None:
    replays, asked = Replays(network, 20, CUDA), Asked(network)
    for count in (20, 10, 3):
        for _ in range(5):
            check(replays, asked, count)
    assert len(Recorder.captures) == 3
    assert len(set(Recorder.captures)) == 1


@pytest.mark.usefixtures("device")
def test_graphs_that_are_forgotten_are_gone_and_can_be_made_anew(network: nn.Module) -> None:
    replays, asked = Replays(network, 20, CUDA), Asked(network)
    for _ in range(5):
        check(replays, asked, 20)
    gc.collect()
    assert len(Recorder.alive) == 1
    replays.forget()
    gc.collect()
    assert not Recorder.alive
    for _ in range(5):
        check(replays, asked, 10)
    assert asked.captured == [20, 10]


@pytest.mark.usefixtures("device")
def test_what_is_captured_in_inference_mode_is_replayed_outside(network: nn.Module) -> None:
    replays, asked = Replays(network, 20, CUDA), Asked(network)
    with torch.inference_mode():
        for _ in range(5):
            check(replays, asked, 20)
    assert asked.captured == [20]
    check(replays, asked, 20)


@pytest.mark.usefixtures("device")
def test_replays_that_are_slower_are_given_up(network: nn.Module) -> None:
    replays, asked = Replays(network, 20, CUDA), Asked(network, eager=0.0, again=0.02)
    for _ in range(6):
        check(replays, asked, 20)
    done = Recorder.replays
    for _ in range(6):
        check(replays, asked, 19)
    assert Recorder.replays == done
    assert asked.sizes[-6:] == [19] * 6, "and the batch is not filled"


@pytest.mark.usefixtures("device")
def test_graphs_that_are_given_up_stay_with_the_others(network: nn.Module) -> None:
    """The first to go would take the work space of all: PyTorch frees it by stream."""
    replays, asked = Replays(network, 20, CUDA), Asked(network)
    for _ in range(6):
        check(replays, asked, 20)
    asked.eager, asked.again = 0.0, 0.02
    for _ in range(6):
        check(replays, asked, 10)
    assert asked.captured == [20, 10]
    gc.collect()
    assert len(Recorder.alive) == 2
    replays.forget()
    gc.collect()
    assert not Recorder.alive


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("first", [True, False])
def test_a_failed_graph_gives_its_memory_back_unless_there_are_others(
    first: bool, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    replays, asked = Replays(network, 20, CUDA), Asked(network)
    for _ in range(0 if first else 6):
        check(replays, asked, 20)

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "graph", fails)
    for _ in range(6):
        check(replays, asked, 10)
    gc.collect()
    assert len(Recorder.alive) == (0 if first else 2)


@pytest.mark.usefixtures("device")
def test_what_cannot_be_captured_is_asked_as_it_is(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[object] = []

    @contextlib.contextmanager
    def fails(graph: Recorder, pool: object, stream: object) -> object:  # type: ignore[misc]
        pools.append(pool)
        raise RuntimeError("operation not permitted when stream is capturing")
        yield

    monkeypatch.setattr(torch.cuda, "graph", fails)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: None)
    replays, asked = Replays(network, 20, CUDA), Asked(network)
    for count in [20] * 8 + [10] * 8:
        check(replays, asked, count)
    assert Recorder.replays == 0
    assert len(set(pools)) == 2, "a pool in which a capture failed is left alone"


class Somebodys(nn.Flatten):
    """Code of others."""


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("why", ["others", "large", "many", "cpu", "deterministic"])
def test_not_everything_is_tried(why: str, network: nn.Module) -> None:
    device = torch.device("cpu") if why == "cpu" else CUDA
    if why == "others":
        network = nn.Sequential(Somebodys(), nn.Linear(784, 10)).eval()
    side = 1500 if why == "large" else 28
    torch.use_deterministic_algorithms(why == "deterministic")
    try:
        replays, asked = Replays(network, 4 if why == "many" else 20, device), Asked(network)
        for _ in range(6):
            images = torch.rand(5 if side == 28 else 1, 1, side, side)
            if side != 28:
                asked.network = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
            replays(asked, "asked", images, labels=torch.zeros(len(images), dtype=torch.long))
    finally:
        torch.use_deterministic_algorithms(False)
    assert Recorder.replays == 0
    assert len(asked.sizes) == 6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("variant", ["bu", "td"])
def test_on_a_gpu_replays_give_what_is_asked(variant: str) -> None:
    torch.manual_seed(0)
    network = arches.create("nin_light", variant, in_chans=1, num_classes=10).eval().to(CUDA)
    network.requires_grad_(False)
    replays = Replays(network, 64, CUDA)

    def ascent(images: Tensor, more: Inputs) -> tuple[Tensor, Tensor]:
        return _gradient(network, images, more["labels"])

    @torch.no_grad()
    def predict(images: Tensor, _: Inputs) -> Tensor:
        logits: Tensor = network(images)
        return logits

    # As attacks are run: of two kernels for batches of two sizes, one may round to TF32.
    with exact():
        for count in (64, 50, 33, 7, 1) * 6:
            images = torch.rand(count, 1, 28, 28, device=CUDA)
            labels = torch.randint(0, 10, (count,), device=CUDA)
            with torch.no_grad():
                logits = replays(predict, "logits", images)
                gradient, wrong = replays(ascent, "ascent", images, labels=labels)
            expected, theirs = ascent(images, {"labels": labels})
            torch.testing.assert_close(logits, predict(images, {}), rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(gradient, expected, rtol=1e-2, atol=1e-4)
            assert (wrong == theirs).float().mean() > 0.9
    assert any(step is not None and step.captured for step in replays._steps.values())
