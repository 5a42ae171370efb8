"""An attack of fixed strength counts only with what keeps to it, in the attack's own norm."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.attacks.base import Attack
from bench.attacks.evaluate import Attacked, Trial, attack_batch
from bench.attacks.problem import Problem

SHAPE = (3, 8, 8)
COUNT = 4


class Brighter(nn.Module):
    """Class 1 is all that is brighter, on the whole, than grey."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.double().flatten(1).mean(1)
        return torch.stack([torch.full_like(mean, 0.5), mean], 1).float() * 1e6


def grown(problem: Problem, *, epsilon: float, factor: float = 1.0, norm: str = "Linf") -> Tensor:
    """Every value brighter, so that the norm is `factor` times epsilon; in L0, so many pixels."""
    images = problem.images.clone()
    values = images[0].numel()
    if norm == "L0":
        images.flatten(2)[:, :, : round(factor * epsilon)] = 1.0
        return images
    return images + factor * epsilon / {"Linf": 1, "L2": values**0.5, "L1": values}.get(norm, 1)


def attacked(attack: Attack, epsilon: float, repeats: int = 1, **options: Any) -> Attacked:
    chosen = {"epsilons": (epsilon,), **options}
    clean, labels = torch.full((COUNT, *SHAPE), 0.5), torch.zeros(COUNT, dtype=torch.long)
    trial = Trial("x", attack, chosen, 0, repeats, "min-l2")
    return attack_batch(Brighter().eval(), trial, clean, labels, list(range(COUNT)))


@pytest.mark.parametrize(
    ("norm", "epsilon", "larger"),
    [("Linf", 0.01, 1.001), ("L2", 0.5, 1.001), ("L1", 12.0, 1.001), ("L0", 5.0, 1.2)],
)
@pytest.mark.parametrize("by_option", [False, True])
def test_what_is_larger_than_the_strength_does_not_count_there(
    norm: str, epsilon: float, larger: float, by_option: bool
) -> None:
    def run(problem: Problem, *, epsilon: float, factor: float, norm: str = norm) -> Tensor:
        return grown(problem, epsilon=epsilon, factor=factor, norm=norm)

    declared = "Linf" if by_option and norm != "Linf" else norm
    attack = Attack(run, deterministic=True, norm=declared, strength="epsilon")
    more = {"norm": norm} if by_option else {}
    kept = attacked(attack, epsilon, factor=1.0, **more)
    assert not kept.robust[epsilon].any()
    assert kept.oversized.tolist() == [0] * COUNT
    beyond = attacked(attack, epsilon, repeats=2, factor=larger, **more)
    assert beyond.robust[epsilon].all()
    assert beyond.oversized.tolist() == [2] * COUNT
    # It fools all the same, at the size that it has.
    assert (beyond.l2 > kept.l2).all()
    assert beyond.lost.tolist() == [0] * COUNT


@pytest.mark.parametrize("norm", ["", "blobs"])
def test_a_strength_in_no_known_norm_binds_nothing(norm: str) -> None:
    attack = Attack(grown, deterministic=True, norm=norm, strength="epsilon")
    found = attacked(attack, 0.001, factor=100.0)
    assert not found.robust[0.001].any()
    assert not found.oversized.any()


def test_what_fools_nobody_is_not_counted_as_too_large() -> None:
    def darker(problem: Problem, *, epsilon: float) -> Tensor:
        return problem.images - 0.3

    attack = Attack(darker, deterministic=True, norm="Linf", strength="epsilon")
    found = attacked(attack, 0.01)
    assert found.robust[0.01].all()
    assert not found.oversized.any()


@pytest.mark.parametrize("norm", ["L1", "L2", "Linf"])
@pytest.mark.parametrize("size", [32, 224])
def test_rounding_of_large_images_does_not_count(norm: str, size: int) -> None:
    """Each float32 value of a random image may be off by half a unit of its last place."""
    from bench.attacks.evaluate import within

    torch.manual_seed(0)
    clean = 0.4 + 0.2 * torch.rand(2, 3, size, size)
    order = {"L1": 1.0, "L2": 2.0, "Linf": torch.inf}[norm]
    for epsilon in (1.0, 12.0) if norm == "L1" else (0.05, 1.0, 12.0):
        noise = torch.randn_like(clean).double()
        noise *= epsilon / torch.linalg.vector_norm(noise.flatten(1), order, 1)[:, None, None, None]
        noise *= 0.3 / max(0.3, float(noise.abs().max()))
        found = (clean.double() + noise).float()
        reached = float(torch.linalg.vector_norm(noise[0].flatten(), order))
        assert within(found - clean, norm, reached).all()
        assert not within(1.01 * (found - clean), norm, 0.98 * reached).any()
