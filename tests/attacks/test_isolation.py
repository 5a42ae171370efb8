"""Whatever an attack does to the model and to the global generators is undone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from bench.attacks.isolation import untouched

CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3))
    model.eval()
    model[1].train()  # a mode of its own must come back too
    model[0].requires_grad_(False)
    model[3].weight.grad = torch.ones_like(model[3].weight)
    return model


def vandalise(model: nn.Module) -> None:
    model.train()
    model[1].eval()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
        parameter.grad = torch.full_like(parameter, 7.0)
    with torch.no_grad():
        model[3].weight.add_(1)
        model[1].running_mean.add_(1)


def fails_inside(model: nn.Module) -> None:
    with untouched(model, 3, CPU):
        vandalise(model)
        raise ZeroDivisionError


def test_mode_weights_statistics_and_gradients_come_back() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradient = model[3].weight.grad
    with untouched(model, 3, CPU):
        vandalise(model)
    assert [module.training for module in model.modules()] == [False, False, True, False, False]
    assert not model[0].weight.requires_grad
    assert model[3].weight.requires_grad
    assert model[3].weight.grad is gradient
    assert model[3].bias.grad is None
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_exception_changes_nothing_about_that() -> None:
    model = network()
    before = model[3].weight.clone()
    with pytest.raises(ZeroDivisionError):
        fails_inside(model)
    assert not model.training
    assert model[1].training
    assert torch.equal(model[3].weight, before)


def test_global_generators_are_seeded_inside_and_put_back() -> None:
    drawn = []
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    expected = float(torch.rand(1)), float(np.random.rand()), random.random()
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    for seed in (5, 5, 6):
        with untouched(None, seed, CPU):
            drawn.append((float(torch.rand(1)), float(np.random.rand()), random.random()))
    assert drawn[0] == drawn[1]
    assert all(one != other for one, other in zip(drawn[1], drawn[2], strict=True))
    assert (float(torch.rand(1)), float(np.random.rand()), random.random()) == expected
