"""Every class of the table through its adapter: what it returns, costs, draws and leaves behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from adapter_parts import EVERY, QUICK, Counting, global_state, images, needs, options, run
from torch import Tensor, nn

from bench.attacks import base
from bench.attacks.capabilities import LIBRARIES, Capability

IMAGES = 4
BALLS = {"Linf": torch.inf, "L2": 2, "L1": 1, "L0": 0}


# May find nothing: noise in a small L-infinity ball, what lands on the boundary, one changed pixel,
# one step of 0.01.
FIND_NOTHING = (
    "foolbox:LinfAdditiveUniformNoiseAttack",
    "torchattacks:DeepFool",
    "torchattacks:OnePixel",
    "torchattacks:SPSA",
)
SMALL_STEPS = {
    what.name: what
    for what in EVERY
    if what.attack in ("LinfBasicIterativeAttack", "L2FastGradientAttack", "BIM", "PGDL2", "FFGSM")
}


def parameters() -> list[Any]:
    """All of the table; those that take their time are marked."""
    return [
        pytest.param(what, id=what.name, marks=[pytest.mark.slow] if what.slow else [])
        for what in EVERY
    ]


class Decisions(nn.Module):
    """Says the class and nothing about how sure it is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Tensor) -> Tensor:
        return nn.functional.one_hot(self.network(batch).argmax(1), 10).float()


def test_the_table_is_as_long_as_promised() -> None:
    assert len(LIBRARIES["foolbox"]) >= 40
    assert len(LIBRARIES["torchattacks"]) >= 25


@pytest.mark.parametrize("what", parameters())
def test_every_class(what: Capability) -> None:
    """Found images are valid, adversarial and counted; nothing else changes; seeds decide."""
    needs(what)
    clean, labels = images(IMAGES, what.channels[0] if what.channels else 1)
    chosen = options(what)
    network = Counting().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generators = global_state()
    first = run(what.name, network, clean, labels, chosen)
    asked = network.rows
    other = run(what.name, network, clean, labels, chosen, seed=1)
    again = other if what.deterministic else run(what.name, network, clean, labels, chosen)

    found = np.isfinite(first.l2)
    assert found.any() or what.name in FIND_NOTHING
    assert first.images.shape == clean.shape
    assert not first.images.requires_grad
    assert bool(((first.images >= 0) & (first.images <= 1)).all())
    with torch.no_grad():
        fooled = (network(first.images).argmax(1) != labels).numpy()
    np.testing.assert_array_equal(fooled, found)
    moved = (first.images != clean).flatten(1).any(1).numpy()
    np.testing.assert_array_equal(moved, found)
    assert first.lost.sum() == 0

    strengths = base.load(what.name).strengths(chosen)
    assert (first.evaluations > 0).all()
    assert first.evaluations.sum() == pytest.approx(asked - IMAGES * len(strengths))
    if what.name not in QUICK:
        # One prediction of the clean image and one of what was found are the adapter's.
        spent = first.evaluations.mean() / len(strengths)
        assert spent <= 3 * what.evaluations + 2
        # Others stop when they have what they want.
        assert spent >= what.evaluations / 3 or not (what.strength and what.access == "gradient")
    if what.strength:
        assert list(first.robust) == list(strengths)
        if what.norm:
            sizes = torch.linalg.vector_norm((first.images - clean).flatten(1), BALLS[what.norm], 1)
            assert bool((sizes <= chosen["epsilons"][-1] * (1 + 1e-4) + 1e-6).all())

    assert global_state() == generators
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(p.grad is None and p.requires_grad for p in network.parameters())

    assert torch.equal(first.images, again.images)
    np.testing.assert_array_equal(first.evaluations, again.evaluations)
    if not what.deterministic and found.any():
        assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize("name", SMALL_STEPS)
@pytest.mark.parametrize("epsilon", [0.02, 1.0])
def test_a_strength_bounds_the_perturbation_and_is_used(name: str, epsilon: float) -> None:
    """Also at a large one, where steps made for a small one would not reach far enough."""
    what = SMALL_STEPS[name]
    needs(what)
    clean, labels = images(IMAGES)
    done = run(name, Counting(), clean, labels, {"epsilons": [epsilon]})
    sizes = torch.linalg.vector_norm((done.images - clean).flatten(1), BALLS[what.norm], 1)
    assert bool((sizes <= epsilon * (1 + 1e-4)).all())
    assert done.robust[epsilon].tolist() == np.isinf(done.l2).tolist()
    if epsilon == 1.0:
        assert sizes.max() > 0.3


@pytest.mark.parametrize(
    "what",
    [p for p in parameters() if p.values[0].access == "decision"],
)
def test_decision_based_attacks_look_at_nothing_else(what: Capability) -> None:
    needs(what)
    clean, labels = images(IMAGES)
    plain = run(what.name, Counting(), clean, labels, options(what))
    blind = run(what.name, Decisions(Counting()), clean, labels, options(what))
    assert torch.equal(plain.images, blind.images)
