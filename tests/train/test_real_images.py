"""The embedded images, trained on as the quickstart does: slow."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from train_parts import CPU, lenet, same_weights

from bench.data.embedded import fashion_mnist_mini
from bench.models.network import Network, wrap
from bench.models.predict import predictions
from bench.seeding import seeded
from bench.suite.recipe import Recipe
from bench.train.determinism import numerics
from bench.train.trainer import train

QUICKSTART = Recipe(epochs=8, batch_size=64, lr=0.1, schedule="one-cycle", bn_momentum=0.1)


def network_after(recipe: Recipe, variant: str) -> tuple[Network, float]:
    """The trained network, and its test accuracy in percent."""
    dataset = fashion_mnist_mini(Path())
    with numerics("deterministic", CPU), seeded(0):
        network = wrap(lenet(dataset, variant), dataset, recipe)
        train(network, dataset, recipe, 0, CPU)
    assert dataset.test.labels is not None
    right = predictions(network, dataset.test.images, CPU).eq(dataset.test.labels)
    return network, 100 * float(right.double().mean())


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["bu", "td"])
def test_the_quickstart_learns(variant: str) -> None:
    assert network_after(QUICKSTART, variant)[1] >= 80


@pytest.mark.slow
def test_lower_precision_learns_as_well() -> None:
    plain = network_after(QUICKSTART, "bu")[1]
    for change in ({"precision": "bf16", "channels_last": True}, {"precision": "fp16"}):
        recipe = Recipe.model_validate({**QUICKSTART.model_dump(), **change})
        assert network_after(recipe, "bu")[1] == pytest.approx(plain, abs=3)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["bu", "td"])
def test_the_bits_hold_over_hundreds_of_steps_and_any_number_of_threads(variant: str) -> None:
    recipe = QUICKSTART.model_copy(update={"epochs": 2})
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(network_after(recipe, variant)[0])
    finally:
        torch.set_num_threads(before)
    assert same_weights(*found)
