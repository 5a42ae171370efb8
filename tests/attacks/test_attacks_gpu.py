"""The attacks on a CUDA device: what the CPU finds, and nothing that has to come back to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from mini_fashion import attacked
from numpy.typing import NDArray
from oracle.oracle_net import trained

from bench.attacks import base
from bench.attacks.evaluate import Attacked, Trial, attack_batch
from bench.models.cudnn import exact

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

NATIVE = [name for name in base.REGISTRY.entries if name != "autoattack"]
# A gradient's sign may differ where the gradient is nearly zero, and sizes then differ a little.
GRADIENT = [name for name in NATIVE if base.load(name).access == "gradient"]
COUNT = 24


@pytest.fixture(autouse=True)
def as_measured() -> Iterator[None]:
    """With TF32, PyTorch's default, other predictions would fall on the other side of an edge."""
    with exact():
        yield


def on(device: str, name: str, **options: Any) -> Attacked:
    network = trained().to(device)
    images, labels = attacked(trained(), COUNT)
    attack = base.load(name)
    trial = Trial(name, attack, attack.options(options), 0, 1, "min-l2")
    return attack_batch(network, trial, images.to(device), labels.to(device), list(range(COUNT)))


def differing(mine: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float((~np.isclose(mine, other, rtol=1e-4)).mean())


@pytest.mark.parametrize("name", [name for name in NATIVE if name not in GRADIENT])
def test_the_gpu_finds_what_the_cpu_finds(name: str) -> None:
    here, there = on("cpu", name), on("cuda", name)
    assert there.images.device.type == "cuda"
    # A prediction at the very edge of a class may fall on either side.
    assert differing(there.l2, here.l2) <= 0.05
    assert not there.lost.any()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", GRADIENT)
def test_gradients_of_the_gpu_fool_the_same_images(name: str, norm: str) -> None:
    here, there = on("cpu", name, norm=norm), on("cuda", name, norm=norm)
    assert there.images.device.type == "cuda"
    assert not there.images.requires_grad
    assert here.robust.keys() == there.robust.keys()
    for strength, robust in here.robust.items():
        assert (robust != there.robust[strength]).mean() <= 0.05, strength
    assert not there.lost.any()


@pytest.mark.parametrize(
    "name", ["foolbox:L2PGD", "foolbox:L2FMNAttack", "torchattacks:PGD", "torchattacks:CW"]
)
def test_library_attacks_stay_on_the_device(name: str) -> None:
    pytest.importorskip(name.partition(":")[0])
    there = on("cuda", name)
    assert there.images.device.type == "cuda"
    assert np.isfinite(there.l2).mean() > 0.5


@pytest.mark.parametrize("name", NATIVE)
def test_the_same_twice(name: str) -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        first, second = on("cuda", name), on("cuda", name)
    finally:
        torch.use_deterministic_algorithms(False)
    np.testing.assert_array_equal(first.l2, second.l2)
