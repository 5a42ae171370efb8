"""The same seed gives the same bits; nothing global is left changed; no host synchronisation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from train_parts import CPU, corner_set, digest, lenet, same_weights, trained

from bench.cli import main
from bench.models.network import wrap
from bench.models.settings import Mode
from bench.seeding import seeded
from bench.store.database import Store
from bench.store.read import results
from bench.suite.recipe import Augment, Recipe
from bench.train.determinism import numerics
from bench.train.trainer import train

SHORT = Recipe(
    epochs=2, batch_size=16, lr=0.05, augment=Augment(shift=0.1, flip=0.5, pca_jitter=0.1)
)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("variant", ["bu", "td"])
def test_same_seed_same_bits(variant: str) -> None:
    dataset = corner_set(40)
    first, epochs = trained(dataset, SHORT, 3, variant)
    torch.rand(17)  # whatever happened in between
    second, again = trained(dataset, SHORT, 3, variant)
    assert same_weights(first, second)
    assert epochs == again
    assert not same_weights(first, trained(dataset, SHORT, 4, variant)[0])


@pytest.mark.usefixtures("threads")
def test_the_number_of_threads_does_not_show_in_the_weights() -> None:
    """`--workers` decides how many threads each training gets."""
    dataset = corner_set(150, side=28)
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append(digest(trained(dataset, Recipe(epochs=1, batch_size=64), 0, "td")[0]))
        assert torch.get_num_threads() == count
    assert len(set(found)) == 1


@pytest.mark.usefixtures("threads")
def test_fast_training_keeps_its_threads() -> None:
    seen: list[int] = []
    dataset = corner_set(8, side=8)
    torch.set_num_threads(2)
    for mode in (None, "deterministic", "fast"):
        recipe = Recipe.model_validate({"epochs": 1, "mode": mode})
        network = wrap(lenet(dataset), dataset, recipe)
        train(network, dataset, recipe, 0, CPU, lambda _: seen.append(torch.get_num_threads()))
    assert seen == [1, 1, 2]


SCRIPT = """
from train_parts import corner_set, digest, trained
from bench.suite.recipe import Recipe
recipe = Recipe(epochs=2, batch_size=16, lr=0.05, precision="bf16")
print(digest(trained(corner_set(40), recipe, 3)[0]))
"""


def test_two_processes_make_the_same_bits() -> None:
    here = Path(__file__)
    paths = os.pathsep.join([str(here.parent), str(here.parents[2])])
    recipe = Recipe(epochs=2, batch_size=16, lr=0.05, precision="bf16")
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "17"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == digest(trained(corner_set(40), recipe, 3)[0])


def test_the_seed_reaches_order_and_augmentation_by_itself() -> None:
    """The same initial weights, nothing held out: only order, or only augmentation, is left."""
    dataset = corner_set(32)
    for recipe in (
        Recipe(epochs=1, batch_size=8, validation=0.0),
        Recipe(epochs=1, batch_size=32, validation=0.0, augment=Augment(flip=0.5)),
    ):
        found = set()
        for seed in (0, 0, 1):
            torch.manual_seed(0)
            network = wrap(lenet(dataset), dataset, recipe)
            train(network, dataset, recipe, seed, CPU)
            found.add(digest(network))
        assert len(found) == 2


def test_augmentation_does_not_change_the_order_of_images() -> None:
    """Each purpose has a stream of its own, so a switched-on option moves nothing else."""

    class First(nn.Linear):
        shown: list[float]

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if self.training:
                self.shown.extend(images.sum((1, 2, 3)).tolist())
            return super().forward(images.flatten(1))

    orders = []
    for settings in (Augment(), Augment(flip=0.5)):  # a flip keeps an image's sum
        layer = First(144, 4)
        layer.shown = []
        dataset, recipe = corner_set(32), Recipe(epochs=2, batch_size=8, augment=settings)
        train(wrap(layer, dataset, recipe), dataset, recipe, 0, CPU)
        orders.append(layer.shown)
    assert orders[0] == pytest.approx(orders[1])


def test_training_takes_nothing_from_the_global_generator() -> None:
    dataset = corner_set(20, side=8)
    network = wrap(lenet(dataset), dataset, SHORT)
    before = torch.get_rng_state()
    train(network, dataset, SHORT, 0, CPU)
    assert torch.equal(torch.get_rng_state(), before)


def broken_off() -> NoReturn:
    raise RuntimeError("on purpose")


def test_seeded_restores_the_global_generator_even_after_an_error() -> None:
    before, found = torch.get_rng_state(), []
    for _ in range(2):
        with seeded(5):
            found.append(torch.rand(3))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0], found[1])
    torch.rand(3)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="on purpose"), seeded(5):
        broken_off()
    assert torch.equal(torch.get_rng_state(), before)


def switches() -> tuple[bool, bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.allow_tf32,
    )


@pytest.mark.parametrize("mode", ["deterministic", "fast"])
@pytest.mark.parametrize(
    "before", [(False, False, True, True), (True, True, False, False), (True, False, True, True)]
)
def test_numerics_puts_torchs_switches_back(
    mode: Mode, before: tuple[bool, bool, bool, bool]
) -> None:
    deterministic = mode == "deterministic"
    original = switches()
    try:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = before[2:]
        with numerics(mode, CPU):
            assert switches() == (deterministic, False, not deterministic, not deterministic)
        assert switches() == before
        with pytest.raises(RuntimeError, match="on purpose"), numerics(mode, CPU):
            broken_off()
        assert switches() == before
    finally:
        torch.use_deterministic_algorithms(original[0], warn_only=original[1])
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = original[2:]


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="needs PyTorch 2.9")
def test_numerics_knows_the_newer_switches_of_others() -> None:
    """Where a plugin has used them, PyTorch refuses to read the older one."""
    convolution: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    original = torch.backends.cudnn.allow_tf32
    try:
        convolution.fp32_precision = "ieee"
        with numerics("fast", CPU):
            assert torch.backends.cudnn.allow_tf32
        assert convolution.fp32_precision == "ieee"
    finally:
        torch.backends.cudnn.allow_tf32 = original


SWITCHED = """
import torch

def switches(context):
    cudnn = torch.backends.cudnn
    return {"tf32": float(cudnn.allow_tf32), "search": float(cudnn.benchmark)}
"""


@pytest.mark.parametrize("mode", ["deterministic", "fast"])
def test_measures_compute_in_float32_by_algorithms_that_are_not_searched_for(
    tiny: Callable[..., Path], mode: str
) -> None:
    """However it was trained: attacks ask for batches of hundreds of sizes."""
    Path("switched.py").write_text(SWITCHED)
    recipe = ("lr: 0.05}", f"lr: 0.05, mode: {mode}}}")
    suite = tiny(recipe, ("  - accuracy\n", "  - switched:switches\n"))
    assert main(["run", str(suite), "--quiet"]) == 0
    store = Store.open(Path("runs/tiny"))
    found = {row.metric: row.value for row in results(store).rows if row.measure == "switches"}
    store.close()
    assert found == {"tf32": 0, "search": 0}


class Syncs(TorchDispatchMode):
    """Counts the operations for which the host has to wait for a result."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique2")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.name().removeprefix("aten::").partition(".")[0]
        if name in self.NAMES:
            self.found[name] += 1
        if name == "index":
            by_mask = [i for i in args[1] if i is not None and i.dtype == torch.bool]
            self.found["index by mask"] += len(by_mask)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_host_waits_per_epoch_and_not_per_step(precision: str) -> None:
    dataset = corner_set(60, side=8, channels=3)
    waits = []
    for size in (54, 9):  # one step an epoch, six steps an epoch
        recipe = SHORT.model_copy(update={"batch_size": size, "precision": precision})
        network = wrap(lenet(dataset), dataset, recipe)
        with Syncs() as syncs:
            train(network, dataset, recipe, 0, CPU)
        waits.append(syncs.found.total())
    assert waits[0] == waits[1] <= 4 * SHORT.epochs
