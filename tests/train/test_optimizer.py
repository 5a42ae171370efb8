"""Our gradient descent is PyTorch's, without its compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from train_parts import CPU, corner_set, linear

from bench.models.algorithms import algorithms
from bench.models.network import wrap
from bench.suite.recipe import Recipe
from bench.train.optimizer import EagerSGD
from bench.train.optimizer import optimizer as of_recipe

ROOT = Path(__file__).parents[2]
SUITE = """\
name: lean
datasets: [{name: fashion-mnist-mini, train_samples: 64, test_samples: 20}]
backbones: [BACKBONE]
variants: [VARIANT]
seeds: [0]
recipe: {epochs: 1, mode: MODE}
measures: [accuracy, {robustness: {samples: 20, attacks: [{name: additive_gaussian, epsilons: 3}]}}]
"""
NETS = """\
from torch import nn

def own(channels, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * 784, classes))
"""
RUN = """\
import sys
from bench.cli import main
for suite in sys.argv[1:]:
    code = main(["run", suite, "--quiet", "--device", "cpu", "--out", "runs/" + suite])
    compilers = sorted({"torch._dynamo", "torch._inductor", "sympy"} & {*sys.modules})
    if code or compilers:
        sys.exit(f"{suite}: code {code}, imported: {compilers}")
"""


def trained(kind: type[torch.optim.SGD], momentum: float, nesterov: bool, fused: bool) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
    groups = [
        {"params": [network[0].weight, network[3].weight], "weight_decay": 0.1},
        {"params": [network[0].bias, *network[1].parameters()], "weight_decay": 0.0},
    ]
    optimizer = kind(groups, lr=0.1, momentum=momentum, nesterov=nesterov, fused=fused)
    for step in range(6):
        optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        optimizer.zero_grad(set_to_none=True)
        network(torch.randn(8, 7)).square().mean().backward()
        optimizer.step()
    return network


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_it_is_pytorchs_to_the_bit(momentum: float, nesterov: bool, fused: bool) -> None:
    ours, theirs = (
        trained(kind, momentum, nesterov, fused).state_dict()
        for kind in (EagerSGD, torch.optim.SGD)
    )
    for name, tensor in theirs.items():
        assert torch.equal(tensor, ours[name]), name


def test_nothing_of_a_step_is_differentiated() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = EagerSGD([weight], lr=0.5)
    weight.sum().backward()
    optimizer.step()
    assert torch.equal(weight, torch.full((3,), 0.5))
    assert weight.is_leaf
    optimizer.zero_grad()
    assert weight.grad is None


def test_a_first_step_that_overflows_leaves_no_momentum() -> None:
    """As in fp16, whose loss is scaled by too much at first."""
    dataset = corner_set()
    network = wrap(linear(dataset), dataset, Recipe())
    optimizer, weight = of_recipe(network, Recipe(), CPU), next(network.backbone.parameters())
    before = weight.detach().clone()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    with algorithms(deterministic=True):  # what is not written yet is NaN
        for slope in (1e3, 0.0):
            optimizer.zero_grad()
            scaler.scale((slope * weight).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
    assert torch.equal(weight, before)


def test_a_run_does_not_load_pytorchs_compiler(tmp_path: Path) -> None:
    """A second of every process."""
    (tmp_path / "nets.py").write_text(NETS)
    runs = [("fast", "lenet_fc", "td"), ("deterministic", "lenet_fc", "td")]
    runs += [("fast", "nets:own", "bu")]
    for number, (mode, backbone, variant) in enumerate(runs):
        text = SUITE.replace("MODE", mode).replace("VARIANT", variant)
        (tmp_path / f"{number}.yaml").write_text(text.replace("BACKBONE", backbone))
    done = subprocess.run(
        [sys.executable, "-c", RUN, *(f"{number}.yaml" for number in range(len(runs)))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
