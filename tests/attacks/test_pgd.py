"""PGD and FGSM: the same iterates as other libraries, within the ball, and without a trace."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attack_parts import images, never, problem
from hypothesis import given, settings
from hypothesis import strategies as st
from mini_fashion import attacked
from oracle.oracle_net import trained
from torch import Tensor, nn

from bench.attacks import base
from bench.attacks.evaluate import Trial, attack_batch
from bench.attacks.problem import Problem
from bench.attacks.source import KeyedSource
from bench.errors import BenchError

NETWORK = trained().eval()
CLEAN, LABELS = attacked(NETWORK, 48)
# Strengths at which some images are fooled and some are not.
EPSILONS = {"Linf": 8 / 255, "L2": 0.8}


def run(
    epsilon: float,
    network: nn.Module = NETWORK,
    clean: Tensor = CLEAN,
    labels: Tensor = LABELS,
    name: str = "pgd",
    **options: Any,
) -> tuple[Tensor, Problem]:
    attack = base.load(name)
    chosen = attack.options({**options, "epsilons": [epsilon]})
    source = KeyedSource(0, name, 0, range(len(clean)))
    task = Problem(clean, labels, network, source, model=network)
    return attack.run(task, **attack.arguments(chosen, epsilon)), task


def fooled(found: Tensor) -> Tensor:
    with torch.no_grad():
        return NETWORK(found).argmax(1) != LABELS


def by_hand(epsilon: float, step: float, steps: int) -> Tensor:
    """The last iterate of the L-infinity attack, after Madry et al."""
    now = CLEAN.clone()
    for _ in range(steps):
        now.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(NETWORK(now), LABELS), now)
        now = now.detach() + step * gradient.sign()
        now = (CLEAN + (now - CLEAN).clamp(-epsilon, epsilon)).clamp(0, 1)
    return now


@pytest.mark.parametrize("steps", [1, 7])
def test_the_last_iterate_is_that_of_the_paper(steps: int) -> None:
    expected = by_hand(8 / 255, 2 / 255, steps)
    hit = fooled(expected)
    assert int(hit.sum()) > 0
    found, task = run(8 / 255, steps=steps, rel_stepsize=0.25, random_start=False, active_set=False)
    assert torch.equal(fooled(found), hit)
    assert torch.equal(task.distance.isfinite(), hit)
    torch.testing.assert_close(found[hit], expected[hit], atol=1e-6, rtol=0)
    assert torch.equal(found[~hit], CLEAN[~hit])


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_foolbox_fools_the_same_images(norm: str) -> None:
    foolbox = pytest.importorskip("foolbox")
    step, steps = 0.1, 12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = foolbox.PyTorchModel(trained().eval(), bounds=(0, 1), device="cpu")
        cls = getattr(foolbox.attacks, f"{norm}PGD")
        theirs = cls(rel_stepsize=step, steps=steps, random_start=False)
        _, last, hit = theirs(model, CLEAN, LABELS, epsilons=EPSILONS[norm])
    found, _ = run(
        EPSILONS[norm],
        norm=norm,
        steps=steps,
        rel_stepsize=step,
        random_start=False,
        active_set=False,
    )
    assert 0 < int(hit.sum()) < len(hit)
    assert torch.equal(fooled(found), hit)
    torch.testing.assert_close(found[hit], last[hit], atol=2e-5, rtol=0)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("random_start", [True, False])
def test_who_is_fooled_leaves_and_nothing_is_lost(norm: str, random_start: bool) -> None:
    """Every image that the last step fools was fooled at some step; the first one counts."""
    more: dict[str, Any] = {"norm": norm, "steps": 15, "random_start": random_start}
    full, whole = run(EPSILONS[norm], active_set=False, **more)
    found, task = run(EPSILONS[norm], **more)
    hit = task.distance.isfinite()
    assert torch.equal(fooled(found), hit)
    assert not (fooled(full) & ~hit).any()
    assert whole.evaluations.tolist() == [16] * len(CLEAN)
    assert set(task.evaluations[~hit.numpy()].tolist()) <= {16}
    assert task.evaluations[hit.numpy()].mean() < 10
    assert (task.distance[hit] <= whole.distance[hit] + 1e-6).float().mean() > 0.9


@settings(max_examples=25, deadline=None)
@given(
    norm=st.sampled_from(["Linf", "L2"]),
    epsilon=st.floats(1e-3, 3.0),
    step=st.floats(0.01, 2.0),
    steps=st.integers(1, 4),
    random_start=st.booleans(),
    active_set=st.booleans(),
)
def test_nothing_leaves_the_ball_or_the_range(norm: str, epsilon: float, **options: Any) -> None:
    options["rel_stepsize"] = options.pop("step")
    if norm == "Linf":
        epsilon /= 3.0  # more than 1, the range of the images, is refused
    clean = images(6, 2, 5, 7)
    net = nn.Sequential(nn.Flatten(), nn.Linear(70, 3))
    with torch.no_grad():
        labels = net(clean).argmax(1)
    found, task = run(epsilon, net, clean, labels, norm=norm, **options)
    change = (found - clean).flatten(1).double()
    size = change.abs().amax(1) if norm == "Linf" else change.norm(dim=1)
    assert float(size.max()) <= epsilon * (1 + 1e-5) + 1e-7
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert torch.equal((change != 0).any(1), task.distance.isfinite())


def test_a_random_start_fills_the_ball() -> None:
    """Seen through what a network is asked first."""
    for norm, epsilon in EPSILONS.items():
        seen: list[Tensor] = []

        class Spy(nn.Module):
            def forward(self, batch: Tensor) -> Tensor:
                seen.append(batch.detach().clone())  # noqa: B023
                return NETWORK(batch)

        grey = torch.full((400, 1, 28, 28), 0.5)
        run(epsilon, Spy(), grey, torch.zeros(400).long(), norm=norm, steps=1)
        change = (torch.cat(seen)[:400] - grey).flatten(1).double()
        if norm == "Linf":
            assert float(change.abs().max()) <= epsilon * (1 + 1e-5)
            assert float(change.mean()) == pytest.approx(0, abs=epsilon / 100)
            assert float(change.std()) == pytest.approx(epsilon / 3**0.5, rel=0.01)
        else:
            sizes = change.norm(dim=1)
            assert float(sizes.max()) <= epsilon * (1 + 1e-5)
            assert float(sizes.mean()) == pytest.approx(epsilon / 2, rel=0.1)


class Watched(nn.Module):
    """Tells whether its parameters would take gradients, and its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = trained()
        self.states: set[tuple[bool, bool]] = set()

    def forward(self, batch: Tensor) -> Tensor:
        takes = any(p.requires_grad for p in self.parameters())
        self.states.add((takes, self.training))
        logits: Tensor = self.inner(batch)
        return logits


def fails(batch: Tensor) -> Tensor:
    raise ZeroDivisionError(batch.shape)


@pytest.mark.parametrize("name", ["pgd", "fgsm"])
@pytest.mark.parametrize("trips", [False, True])
def test_the_network_is_as_it_was(name: str, trips: bool) -> None:
    network = Watched().train()
    network.requires_grad_(True)
    first = next(network.parameters()).requires_grad_(False)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    if trips:
        network.inner.forward = fails  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            run(0.1, network, name=name)
    else:
        found, _ = run(0.1, network, name=name)
        assert not found.requires_grad
        assert found.grad_fn is None
    assert network.states == {(False, False)}
    assert all(module.training for module in network.modules())
    flags = [p.requires_grad for p in network.parameters()]
    assert flags == [p is not first for p in network.parameters()]
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not CLEAN.requires_grad


def test_without_a_gradient_nothing_moves() -> None:
    task = problem(images(3), never, name="pgd")
    found = base.load("pgd").run(task, epsilon=0.2, steps=3)
    assert torch.equal(found, images(3))


def test_a_gradient_that_does_not_reach_the_image_is_none() -> None:
    weight = torch.ones(64, 2, requires_grad=True)  # no parameter, so nobody freezes it
    task = problem(images(3), lambda batch: batch.detach().flatten(1) @ weight, name="pgd")
    assert torch.equal(base.load("pgd").run(task, epsilon=0.2, random_start=False), images(3))


class Confident(nn.Module):
    """Two classes by a linear function, with logits of any size: which images are of which class,
    and where the border lies, does not depend on the size."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        weight = torch.linspace(-1, 1, CLEAN[0].numel()).sin() + 0.1
        self.weight = nn.Parameter(factor * torch.stack([weight, -weight], 1))

    def forward(self, batch: Tensor) -> Tensor:
        return (batch.flatten(1) - 0.3) @ self.weight


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", ["pgd", "fgsm"])
def test_confidence_is_no_defence(name: str, norm: str) -> None:
    """Where the probability of the class rounds to 1, the cross-entropy has no gradient left."""
    modest, sure = Confident(1.0), Confident(4096.0)
    labels = modest(CLEAN).argmax(1)
    assert float(sure(CLEAN).detach().diff(dim=1).abs().min()) > 150
    expected, task = run(EPSILONS[norm] * 4, modest, CLEAN, labels, name, norm=norm)
    assert 0 < int(task.distance.isfinite().sum()) < len(CLEAN)
    found, again = run(EPSILONS[norm] * 4, sure, CLEAN, labels, name, norm=norm)
    assert torch.equal(again.distance.isfinite(), task.distance.isfinite())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", ["pgd", "fgsm"])
@pytest.mark.parametrize("factor", [2.0**-70, 2.0**-45, 2.0**66])
def test_gradients_of_any_size_have_a_direction(factor: float, name: str, norm: str) -> None:
    """The sum of their squares is 0 or infinite in float32, or they are smaller than any usual
    guard against dividing by 0."""
    labels = Confident(1.0)(CLEAN).argmax(1)
    expected, task = run(EPSILONS[norm] * 4, Confident(1.0), CLEAN, labels, name, norm=norm)
    found, again = run(EPSILONS[norm] * 4, Confident(factor), CLEAN, labels, name, norm=norm)
    assert torch.equal(again.distance.isfinite(), task.distance.isfinite())
    torch.testing.assert_close(found, expected)


def test_one_step_reaches_the_border() -> None:
    found, task = run(8 / 255, name="fgsm")
    expected = by_hand(8 / 255, 8 / 255, 1)
    hit = fooled(expected)
    assert torch.equal(task.distance.isfinite(), hit)
    torch.testing.assert_close(found[hit], expected[hit], atol=1e-6, rtol=0)
    assert task.evaluations.tolist() == [2] * len(CLEAN)


def test_strengths_give_a_curve() -> None:
    attack = base.load("pgd")
    options = attack.options({"epsilons": ["4/255", "1/255", 0.1], "steps": 10})
    trial = Trial("pgd", attack, options, 0, 2, "min-l2")
    done = attack_batch(NETWORK, trial, CLEAN, LABELS, list(range(len(CLEAN))))
    shares = [float(done.robust[s].mean()) for s in (1 / 255, 4 / 255, 0.1)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[2]
    assert not done.lost.any()
    assert not done.identical.any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"norm": "L1"}, "option 'norm' must be one of Linf, L2, not 'L1'"),
        ({"steps": 0}, "option 'steps' must be a positive whole number, not 0"),
        ({"rel_stepsize": -0.5}, "option 'rel_stepsize' must be a positive number, not -0.5"),
        ({"rel_stepsize": 0.0}, "option 'rel_stepsize' must be a positive number, not 0.0"),
        ({"active_set": "yes"}, "option 'active_set' must be true or false, not 'yes'"),
        ({"epsilons": [0]}, "option 'epsilons' must be positive numbers"),
        ({"epsilon": 0.1}, "unknown option 'epsilon': say `epsilons:"),
        ({"alpha": 0.1}, "unknown option 'alpha'; known: active_set, epsilons, norm"),
    ],
)
def test_what_is_wrong_is_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BenchError) as caught:
        base.load("pgd").options(options)
    assert said in str(caught.value)


def test_the_step_follows_the_number_of_steps_and_the_grid_the_norm() -> None:
    attack = base.load("pgd")
    assert attack.options({"steps": 50})["rel_stepsize"] == 0.05
    assert attack.options({"steps": 50, "rel_stepsize": 1})["rel_stepsize"] == 1
    assert max(attack.options({"norm": "L2"})["epsilons"]) == 8.0
    assert base.key("pgd", {}) == base.key("pgd", {"rel_stepsize": 0.125})


def test_a_repeat_needs_a_random_start() -> None:
    attack = base.load("pgd")
    assert not attack.is_deterministic(attack.options({}))
    assert attack.is_deterministic(attack.options({"random_start": False}))
    assert not attack.depends_on_batch(attack.options({}))
