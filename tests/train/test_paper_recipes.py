"""A recipe can say everything that the paper's trainings need (facts, section 5)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from train_parts import CPU, corner_set, lenet

from bench.models.network import wrap
from bench.suite.recipe import Recipe
from bench.train.trainer import train

CIFAR_AUGMENTED = {
    "epochs": 200,
    "weight_decay": 2e-4,
    "mean": "per_pixel",
    "augment": {"shift": 0.1, "flip": 0.5},
}
IMAGENETTE_TD = {
    "epochs": 80,
    "batch_size": 64,
    "lr": 0.05,
    "weight_decay": 2e-3,
    "mean": "per_pixel",
    "test_mean": "own",
    "augment": {"pca_jitter": 0.1, "flip": 0.5, "crop": 128},
}


@pytest.mark.parametrize(
    "given",
    [
        {"epochs": 50},
        {"epochs": 40},
        {"epochs": 100, "weight_decay": 1e-3, "mean": "per_pixel"},
        CIFAR_AUGMENTED,
        IMAGENETTE_TD,
    ],
)
def test_recipes_of_the_paper(given: dict[str, Any]) -> None:
    recipe = Recipe.model_validate(given)
    assert (recipe.momentum, recipe.nesterov, recipe.validation) == (0.9, True, 0.1)
    assert recipe.schedule == "three-stage"
    assert (recipe.std, recipe.bn_momentum) == ("none", None)


def test_defaults_are_those_of_lenet_td_on_mnist() -> None:
    recipe = Recipe()
    found = (recipe.epochs, recipe.batch_size, recipe.lr, recipe.weight_decay, recipe.mean)
    assert found == (30, 128, 0.1, 0.0, "none")


@pytest.mark.parametrize("variant", ["bu", "td"])
def test_imagenette_in_small(variant: str) -> None:
    """Larger training images, cropped; test images of the network's size with their own mean."""
    dataset = corner_set(40, side=20, channels=3, test_side=16)
    small = {**IMAGENETTE_TD, "epochs": 2, "batch_size": 8}
    recipe = Recipe.model_validate({**small, "augment": {**small["augment"], "crop": 16}})  # type: ignore[dict-item]
    network = wrap(lenet(dataset, variant), dataset, recipe)
    epochs = train(network, dataset, recipe, 0, CPU).epochs
    assert network.normalize_train.mean.shape == (3, 20, 20)
    assert network.normalize.mean.shape == (3, 16, 16)
    assert all(epoch.validation is not None for epoch in epochs)
    assert network(dataset.test.images / 255).shape == (20, 4)


def test_cifar_in_small() -> None:
    dataset = corner_set(40, side=16, channels=3)
    recipe = Recipe.model_validate({**CIFAR_AUGMENTED, "epochs": 2, "batch_size": 8})
    network = wrap(lenet(dataset, "td"), dataset, recipe)
    train(network, dataset, recipe, 0, CPU)
    assert torch.isfinite(network(dataset.test.images / 255)).all()
