"""Grouped convolutions of a training in bfloat16: on the CPU they are computed in float32."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from train_parts import CPU, corner_set

from bench.models.network import wrap
from bench.suite.recipe import Recipe
from bench.train.trainer import TrainingDivergedError, train


class Seen(nn.Conv2d):
    """Notes the type of what it gives; a subclass with a `forward` of its own, as timm has some."""

    def forward(self, input: Tensor) -> Tensor:
        found = super().forward(input)
        self.types.add(found.dtype)
        return found

    @property
    def types(self) -> set[torch.dtype]:
        return self.__dict__.setdefault("seen", set())  # type: ignore[no-any-return]


def separable() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        Seen(1, 32, 3),
        Seen(32, 32, 3, groups=32),
        Seen(32, 32, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 4),
    )


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_they_alone_are_in_fp32_and_the_record_says_so(precision: str) -> None:
    dataset = corner_set(40)
    recipe = Recipe(epochs=1, batch_size=20, lr=0.01, precision=precision)  # type: ignore[arg-type]
    network = wrap(separable(), dataset, recipe)
    facts = train(network, dataset, recipe, 0, CPU).facts
    dense, depthwise, pointwise = list(network.backbone)[:3]  # type: ignore[call-overload]
    wanted = torch.bfloat16 if precision == "bf16" else torch.float32
    assert dense.types == pointwise.types == {wanted}
    assert depthwise.types == {torch.float32}
    assert facts.get("grouped_convolutions") == ("fp32" if precision == "bf16" else None)


def test_the_network_is_as_it_was_after_training_that_fails_too() -> None:
    dataset = corner_set(40)
    for lr, expected in ((0.01, False), (1e30, True)):
        recipe = Recipe(epochs=2, batch_size=20, lr=lr, precision="bf16")
        network = wrap(separable(), dataset, recipe)
        before = [vars(module).keys() - {"seen"} for module in network.modules()]
        try:
            train(network, dataset, recipe, 0, CPU)
            failed = False
        except TrainingDivergedError:
            failed = True
        assert failed == expected
        assert [vars(module).keys() - {"seen"} for module in network.modules()] == before


def test_a_network_without_them_says_nothing_of_them() -> None:
    dataset = corner_set(40)
    recipe = Recipe(epochs=1, batch_size=20, lr=0.01, precision="bf16")
    network = wrap(nn.Sequential(nn.Flatten(), nn.Linear(144, 4)), dataset, recipe)
    assert "grouped_convolutions" not in train(network, dataset, recipe, 0, CPU).facts
