"""Training on CUDA: no host synchronisation, the captured step, devices side by side."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from train_parts import corner_set, lenet

from bench.data.dataset import Dataset
from bench.models.graph import WARM_UP
from bench.models.network import Network, wrap
from bench.models.settings import mode_of, settle
from bench.run.devices.lost import is_lost
from bench.seeding import seeded
from bench.suite.recipe import Augment, Recipe
from bench.train.determinism import numerics
from bench.train.images import free
from bench.train.schedule import learning_rate
from bench.train.step import Step, TrainingMemoryError
from bench.train.trainer import History, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda")
EVERYTHING = Augment(shift=0.1, flip=0.5, crop=12, crop_padding=1, pca_jitter=0.1)
RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05, schedule="one-cycle", bn_momentum=0.2)


@pytest.fixture(autouse=True)
def no_watch_left() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


def trained(
    recipe: Recipe,
    dataset: Dataset,
    device: torch.device,
    resident: bool | None = None,
    repeatable: bool = False,
) -> tuple[Network, History]:
    """As a run trains. `repeatable`: with the kernels of deterministic mode whatever the recipe's
    is, so that a captured step has those of an eager one. Else the search among them may find
    others, and a difference of a hundred-thousandth grows to one of percents in a few epochs."""
    mode = "deterministic" if repeatable else mode_of(recipe, device)
    with numerics(mode, device), seeded(0):
        network = wrap(lenet(dataset), dataset, recipe)
        return network, train(network, dataset, recipe, 0, device, resident=resident)


def step_of(
    network: Network, dataset: Dataset, recipe: Recipe, resident: bool | None = None
) -> Step:
    network.to(CUDA).train()
    network.normalize_train.to(CUDA)
    settings = settle(recipe, CUDA, network.backbone)
    random = torch.Generator().manual_seed(0)
    return Step(network, dataset.train, recipe, settings, CUDA, random, resident)


@pytest.mark.parametrize("mode", ["fast", "deterministic"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_no_step_waits_for_the_device(mode: str, precision: str) -> None:
    dataset = corner_set(200, channels=3)
    given = {"mode": mode, "precision": precision, "augment": EVERYTHING}
    recipe = Recipe.model_validate({**RECIPE.model_dump(), **given})
    with numerics(mode, CUDA):  # type: ignore[arg-type]
        step = step_of(wrap(lenet(dataset), dataset, recipe), dataset, recipe)
        index = torch.randperm(200).to(CUDA)
        for part in index.split(16)[: WARM_UP + 1]:  # set-up and capture may wait
            step(part, 0.05)
        torch.cuda.set_sync_debug_mode("error")
        for number, part in enumerate(index.split(16)):
            step(part, learning_rate(recipe, number, 13))
        torch.cuda.set_sync_debug_mode("default")
    assert step.facts()["cuda_graph"] is (mode == "fast" and precision != "fp16")


class Reads(nn.Module):
    """Somebody's layer, of known code by its name only, that lets the host wait."""

    __module__ = "torch.nn.reads"

    def forward(self, images: Tensor) -> Tensor:
        return images * (1.0 if float(images.mean()) > -9 else 0.0)


def test_a_network_that_waits_is_not_captured_and_trains() -> None:
    dataset = corner_set(100)
    with seeded(0):
        network = wrap(nn.Sequential(Reads(), lenet(dataset)), dataset, RECIPE)
    history = train(network, dataset, RECIPE, 0, CUDA)
    assert history.facts["cuda_graph"] is False
    assert "the host waits" in history.facts["note"]
    assert history.epochs[-1].loss < history.epochs[0].loss


class Waits(nn.Module):
    """Somebody's layer, of known code by its name only, that lets the host wait once, in the step
    that is captured."""

    __module__ = "torch.nn.waits"

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.dropout = nn.Dropout(0.1)

    def forward(self, images: Tensor) -> Tensor:
        self.calls += self.training
        if self.calls == WARM_UP + 1:
            float(images.mean())
        kept: Tensor = self.dropout(images)
        return kept


def test_a_capture_that_fails_leaves_the_process_whole() -> None:
    dataset = corner_set(100)
    recipe = RECIPE.model_copy(update={"mode": "fast"})
    with numerics("fast", CUDA), seeded(0):
        network = wrap(nn.Sequential(Waits(), lenet(dataset)), dataset, recipe)
        history = train(network, dataset, recipe, 0, CUDA)
    assert history.facts["cuda_graph"] is False
    assert "its capture failed" in history.facts["note"]
    assert history.epochs[-1].loss < history.epochs[0].loss
    assert not is_lost(CUDA)
    torch.cuda.empty_cache()
    _, history = trained(recipe, dataset, CUDA)
    assert history.facts["cuda_graph"] is True


def test_replayed_steps_are_the_eager_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same images, draws, rates and partial batch; without dropout nothing else is left."""
    dataset = corner_set(90, channels=3)  # 81 to train on: six batches of 12 and one of 9
    changes = {"augment": EVERYTHING, "precision": "fp32", "epochs": 4, "batch_size": 12}
    recipe = RECIPE.model_copy(update={**changes, "mode": "fast"})
    replayed, history = trained(recipe, dataset, CUDA, repeatable=True)
    monkeypatch.setattr("bench.train.step.why_eager", lambda *_: "for this test")
    eager, expected = trained(recipe, dataset, CUDA, repeatable=True)
    assert (history.facts["cuda_graph"], expected.facts["cuda_graph"]) == (True, False)
    for one, other in zip(history.epochs, expected.epochs, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-2)
    for name, value in eager.state_dict().items():
        torch.testing.assert_close(replayed.state_dict()[name], value, rtol=5e-2, atol=5e-3)


class Kept(nn.Module):
    """Adds up how often each position was kept by dropout."""

    __module__ = "torch.nn.kept"

    def __init__(self, size: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Linear(size, 4)
        self.register_buffer("count", torch.zeros(size))
        self.register_buffer("previous", torch.zeros(size))
        self.register_buffer("repeats", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        mask = self.dropout(torch.ones_like(images.flatten(1)))
        kept = (mask[0] > 0).float()
        self.count += kept
        self.repeats += (kept == self.previous).all()
        self.previous.copy_(kept)
        logits: Tensor = self.last(images.flatten(1) * mask)
        return logits


def test_dropout_draws_anew_at_every_replay() -> None:
    dataset, steps = corner_set(64, side=16), 40
    recipe = RECIPE.model_copy(update={"validation": 0.0, "mode": "fast"})
    kept = Kept(16 * 16)
    step = step_of(wrap(kept, dataset, recipe), dataset, recipe)
    index = torch.arange(16, device=CUDA)
    for _ in range(steps):
        step(index, 0.01)
    assert step.facts()["cuda_graph"] is True
    assert float(kept.repeats) == 0
    assert abs(float(kept.count.mean()) / steps - 0.5) < 0.05
    assert float(kept.count.std()) == pytest.approx((steps * 0.25) ** 0.5, rel=0.2)


def test_a_replay_follows_the_schedule() -> None:
    dataset = corner_set(64, side=8)
    recipe = RECIPE.model_copy(update={"momentum": 0.0, "nesterov": False, "mode": "fast"})
    network = wrap(lenet(dataset), dataset, recipe)
    step = step_of(network, dataset, recipe)
    index = torch.arange(16, device=CUDA)
    for _ in range(WARM_UP + 1):
        step(index, 0.01)
    weights = [p for p in network.parameters() if p.requires_grad]
    for lr in (0.0, 0.01, 0.02):
        before = [weight.detach().clone() for weight in weights]
        step(index, lr)
        moved = [(weight - old).abs().sum() for weight, old in zip(weights, before, strict=True)]
        assert (sum(float(part) for part in moved) > 0) is (lr > 0)


def test_deterministic_mode_repeats_its_bits() -> None:
    recipe = RECIPE.model_copy(update={"mode": "deterministic"})
    dataset = corner_set(100)
    one, two = (trained(recipe, dataset, CUDA)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_images_on_the_host_train_the_same_bits() -> None:
    dataset = corner_set(90, channels=3)
    changes = {"augment": EVERYTHING, "mode": "deterministic", "precision": "fp32"}
    recipe = RECIPE.model_copy(update=changes)
    (here, told), (there, _) = (trained(recipe, dataset, CUDA, r) for r in (False, True))
    assert "on the host" in told.facts["images"]
    weights = there.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in here.state_dict().items())


def test_images_on_the_host_reach_a_captured_step() -> None:
    dataset = corner_set(90, channels=3)
    changes = {"augment": EVERYTHING, "precision": "fp32", "epochs": 4, "batch_size": 12}
    recipe = RECIPE.model_copy(update={**changes, "mode": "fast"})
    (here, told), (there, expected) = (
        trained(recipe, dataset, CUDA, r, repeatable=True) for r in (False, True)
    )
    assert told.facts["cuda_graph"] is True
    for one, other in zip(told.epochs, expected.epochs, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-2)
    for name, value in there.state_dict().items():
        torch.testing.assert_close(here.state_dict()[name], value, rtol=5e-2, atol=5e-3)


def test_no_step_waits_for_images_of_the_host() -> None:
    """Batches of other pinned memory each time: one must not be overwritten while it travels."""
    dataset = corner_set(200, channels=3)
    recipe = RECIPE.model_copy(update={"augment": EVERYTHING, "mode": "fast"})
    with numerics("fast", CUDA):
        network = wrap(lenet(dataset), dataset, recipe)
        step = step_of(network, dataset, recipe, resident=False)
        parts = torch.randperm(200).split(16)
        for part in parts[: WARM_UP + 1]:
            step(part, 0.05)
        torch.cuda.set_sync_debug_mode("error")
        for part in parts:
            step(part, 0.05)
        torch.cuda.set_sync_debug_mode("default")
    assert step.facts()["cuda_graph"] is True


def test_images_that_would_fill_the_device_stay_on_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = corner_set(90, channels=3)
    recipe = RECIPE.model_copy(update={"mode": "deterministic"})
    _, history = trained(recipe, dataset, CUDA)
    assert "images" not in history.facts
    monkeypatch.setattr("bench.train.images.SHARE", 0)
    _, history = trained(recipe, dataset, CUDA)
    assert "on the host" in history.facts["images"]


def test_what_an_earlier_training_left_is_free() -> None:
    torch.cuda.empty_cache()
    before = free(CUDA)
    taken = torch.empty(int(before / 2), dtype=torch.uint8, device=CUDA)
    assert free(CUDA) < 0.6 * before
    del taken  # PyTorch keeps it
    assert torch.cuda.mem_get_info(CUDA)[0] < 0.6 * before
    assert free(CUDA) > 0.9 * before
    torch.cuda.empty_cache()


def test_weights_trained_on_one_device_serve_on_another() -> None:
    dataset = corner_set(100)
    network, _ = trained(RECIPE, dataset, CUDA)
    images = dataset.test.images / 255
    expected = network(images.to(CUDA)).cpu()
    other = wrap(lenet(dataset), dataset, RECIPE)
    other.load_state_dict({name: t.cpu() for name, t in network.state_dict().items()})
    torch.testing.assert_close(other.eval()(images), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_the_second_device_does_its_own_work() -> None:
    second = torch.device("cuda", 1)
    dataset = corner_set(100)
    with torch.cuda.device(second):
        network, history = trained(RECIPE, dataset, second)
    assert history.facts["cuda_graph"] is True
    assert {parameter.device for parameter in network.parameters()} == {second}


BREAKS = """
import torch
from bench.run.devices.lost import is_lost

device = torch.device("cuda")
try:
    torch.empty(1 << 50, device=device)
except RuntimeError:
    print(is_lost(device))
try:
    torch.zeros(4, device=device)[torch.full((4,), 9, device=device)].sum().item()
except RuntimeError:
    print(is_lost(device))
"""


def test_a_broken_assertion_loses_the_device_and_want_of_memory_does_not() -> None:
    done = subprocess.run([sys.executable, "-c", BREAKS], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_a_batch_too_large_is_refused_with_the_memory_in_use() -> None:
    dataset = corner_set(4000, side=96)
    recipe = RECIPE.model_copy(update={"batch_size": 4000, "validation": 0.0})
    network = wrap(lenet(dataset, "td"), dataset, recipe)
    torch.cuda.set_per_process_memory_fraction(0.02)
    try:
        with pytest.raises(TrainingMemoryError, match=r"GiB in use\) with batch_size 4000"):
            train(network, dataset, recipe, 0, CUDA)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
