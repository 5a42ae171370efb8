"""What tests of the adapters attack, and quick options for what is slow at its defaults."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from mini_fashion import attacked
from oracle.oracle_net import trained
from torch import Tensor, nn

from bench.attacks import base
from bench.attacks.capabilities import BUILT_IN, LIBRARIES, PACKAGES, Capability
from bench.attacks.evaluate import Attacked, Trial, attack_batch
from bench.attacks.problem import Problem
from bench.attacks.source import KeyedSource

EVERY = [what for library in LIBRARIES.values() for what in library.values()]
EVERY.append(BUILT_IN["autoattack"])

# Fewer steps where the defaults take seconds to hours.
QUICK: dict[str, dict[str, Any]] = {
    "foolbox:BoundaryAttack": {"steps": 60},
    "foolbox:EADAttack": {"steps": 200, "binary_search_steps": 4, "initial_const": 0.1},
    "foolbox:GenAttack": {"steps": 20},
    "foolbox:GaussianBlurAttack": {"steps": 50},
    "foolbox:HopSkipJumpAttack": {"steps": 2},
    "foolbox:L2CarliniWagnerAttack": {
        "steps": 100,
        "binary_search_steps": 4,
        "initial_const": 0.1,
    },
    "foolbox:LinearSearchBlendedUniformNoiseAttack": {"steps": 50, "directions": 50},
    "foolbox:LinearSearchContrastReductionAttack": {"steps": 50},
    "foolbox:SaltAndPepperNoiseAttack": {"steps": 200},
    **{f"foolbox:{norm}FMNAttack": {"steps": 40} for norm in ("L0", "L1", "LInf")},
    **{
        f"foolbox:{kind}Repeated{noise}NoiseAttack": {"repeats": 30}
        for kind in ("L2", "Linf", "L2ClippingAware")
        for noise in ("AdditiveGaussian", "AdditiveUniform")
    },
    "torchattacks:JSMA": {"gamma": 0.05},
    "torchattacks:Square": {"n_queries": 200},
}
# Strengths at which most attacks find something and some images withstand.
GRIDS = {"Linf": [0.02, 0.1], "L2": [0.5, 8.0], "L1": [3.0, 30.0], "L0": [1, 5], "": [0.1, 0.3]}


def needs(what: Capability) -> None:
    """Skip where the library or a package that the class needs is not installed."""
    library = what.name.partition(":")[0]
    pytest.importorskip("pyautoattack" if library == "autoattack" else library)
    if what.name in PACKAGES:
        pytest.importorskip(PACKAGES[what.name])


def options(what: Capability, **more: Any) -> dict[str, Any]:
    """Quick options, completed."""
    given = {**QUICK.get(what.name, {}), **more}
    if what.strength:
        given.setdefault("epsilons", GRIDS[what.norm])
    return base.load(what.name).options(given)


class Counting(nn.Module):
    """The trained network, which counts images; of three channels it takes the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.network = trained().requires_grad_(True)
        self.rows = 0

    def forward(self, images: Tensor) -> Tensor:
        self.rows += len(images)
        logits: Tensor = self.network(images.mean(1, keepdim=True))
        return logits


def images(count: int, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Images of different classes that the network gets right."""
    clean, labels = attacked(trained(), 60)
    order = labels.argsort(stable=True)[:: 60 // count][:count]
    return clean[order].repeat(1, channels, 1, 1), labels[order]


def run(
    name: str,
    network: nn.Module,
    clean: Tensor,
    labels: Tensor,
    given: dict[str, Any],
    seed: int = 0,
    repeats: int = 1,
    samples: list[int] | None = None,
) -> Attacked:
    """Attack as the measure does."""
    attack = base.load(name)
    trial = Trial(name, attack, attack.options(given), seed, repeats, "min-l2")
    return attack_batch(network, trial, clean, labels, samples or list(range(len(clean))))


def direct(
    name: str, network: nn.Module, clean: Tensor, labels: Tensor, **given: Any
) -> tuple[Tensor, Problem]:
    """What the adapter alone returns, at the first strength; nothing is put back around it."""
    attack = base.load(name)
    chosen = attack.options(given)
    source = KeyedSource(0, name, 0, range(len(clean)))
    problem = Problem(clean, labels, network, source, model=network, seed=5)
    arguments = attack.arguments(chosen, attack.strengths(chosen)[0])
    return attack.run(problem, **arguments), problem


def global_state() -> list[Any]:
    """The state of the three global generators."""
    numpys = np.random.get_state()
    return [torch.get_rng_state().tolist(), [str(part) for part in numpys], random.getstate()]
