"""What attack libraries do that nobody expects, and that does not come through the adapters.

One test or more for each row of the table "Traps an adapter must handle" in the project's notes.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from typing import Any

import numpy as np
import pytest
import torch
from adapter_parts import EVERY, Counting, direct, images, needs, options, run
from torch import Tensor, nn

from bench.attacks import base
from bench.attacks.evaluate import seed_of
from bench.attacks.problem import Problem
from bench.attacks.source import KeyedSource
from bench.errors import BenchError

TABLE = {what.name: what for what in EVERY}
LEAVES_GRADIENTS = [
    *(f"foolbox:{n}Attack" for n in ("L2DeepFool", "NewtonFool", "L2FMN", "DDN")),
    "foolbox:L2PGD",
    *(f"torchattacks:{n}" for n in ("CW", "EADL1", "DeepFool", "FAB", "JSMA")),
]
FEW = {
    "torchattacks:DeepFool": {"steps": 5},
    "torchattacks:CW": {"steps": 5},
    "torchattacks:FAB": {"steps": 3},
    "foolbox:L2CarliniWagnerAttack": {"steps": 5, "binary_search_steps": 1},
    "torchattacks:EADL1": {"max_iterations": 20, "binary_search_steps": 3},
    "torchattacks:EADEN": {"max_iterations": 20, "binary_search_steps": 3},
    "torchattacks:JSMA": {"gamma": 0.01},
}


def library(name: str) -> Any:
    return pytest.importorskip(name.partition(":")[0])


def fools(network: nn.Module, candidates: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        wrong: Tensor = network(candidates).argmax(1) != labels
        return wrong


class Normalised(nn.Module):
    """A convolution, batch normalisation, dropout: what has a mode and statistics."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, 2), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten()
        )
        self.last = nn.Linear(4 * 13 * 13, classes)
        self.left = 10**9

    def forward(self, batch: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise ZeroDivisionError("no more")
        logits: Tensor = self.last(self.layers(batch))
        return logits


def frozen() -> Normalised:
    """Training goes on, but not of the batch normalisation, and one layer is frozen."""
    network = Normalised().train()
    network.layers[1].eval()
    network.layers[0].requires_grad_(False)
    network.last.weight.grad = torch.ones_like(network.last.weight)
    return network


def state(network: Normalised) -> list[Any]:
    return [
        [module.training for module in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
        [None if p.grad is None else p.grad.tolist() for p in network.parameters()],
        {name: value.tolist() for name, value in network.state_dict().items()},
    ]


# Returned image is not adversarial on re-check.


def test_what_lands_on_the_boundary_is_no_success() -> None:
    torchattacks = library("torchattacks:DeepFool")
    clean, labels = images(5)
    network = Counting().eval()
    raw = torchattacks.DeepFool(network, steps=20)(clean, labels)
    assert not fools(network, raw, labels).all(), "the library would have to be believed"
    found, _ = direct("torchattacks:DeepFool", network, clean, labels, steps=20)
    moved = (found != clean).flatten(1).any(1)
    assert torch.equal(fools(network, found, labels), moved)


def test_foolboxs_deepfool_fools_everything() -> None:
    library("foolbox:")
    clean, labels = images(12)
    done = run("foolbox:L2DeepFoolAttack", Counting(), clean, labels, {})
    assert np.isfinite(done.l2).all()
    assert done.l2.max() < 3


# A minimal-norm attack called with an epsilon.


@pytest.mark.parametrize("name", [what.name for what in EVERY if not what.strength])
def test_attacks_for_the_smallest_take_no_epsilon(name: str) -> None:
    needs(TABLE[name])
    attack = base.load(name)
    assert "epsilons" not in attack.defaults
    assert attack.strengths(attack.options({})) == (None,)
    with pytest.raises(BenchError, match="unknown option 'epsilons': this attack looks for the sm"):
        attack.options({"epsilons": [0.1]})


def test_foolbox_is_told_that_there_is_no_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    foolbox = library("foolbox:")
    cls = foolbox.attacks.L2DeepFoolAttack
    told = []
    call = cls.__call__

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        told.append(kwargs["epsilons"])
        return call(self, *args, **kwargs)

    monkeypatch.setattr(cls, "__call__", spy)
    clean, labels = images(2)
    run("foolbox:L2DeepFoolAttack", Counting(), clean, labels, {})
    assert told == [None]


# Failed or already misclassified samples come back perturbed.


@pytest.mark.parametrize(
    "name",
    ["torchattacks:FGSM", "torchattacks:PGD", "foolbox:PGD", "foolbox:FGSM", "foolbox:L2PGD"],
)
def test_what_withstands_comes_back_clean(name: str) -> None:
    library(name)
    clean, labels = images(4)
    found, _ = direct(name, Counting().eval(), clean, labels, epsilons=[1e-4])
    assert torch.equal(found, clean)
    assert run(name, Counting(), clean, labels, {"epsilons": [1e-4]}).lost.sum() == 0


@pytest.mark.parametrize(
    "name",
    [
        "foolbox:InversionAttack",
        "foolbox:L2DeepFoolAttack",
        "foolbox:PGD",
        "torchattacks:DeepFool",
        "torchattacks:GN",
        "torchattacks:PGD",
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_what_is_misclassified_already_is_left_alone(name: str, alone: bool) -> None:
    library(name)
    clean, labels = images(4)
    wrong = labels.clone()
    wrong[1:3] = (labels[1:3] + 1) % 10
    found, problem = direct(name, Counting().eval(), clean, wrong, one_by_one=alone)
    assert torch.equal(found[1:3], clean[1:3])
    assert problem.evaluations[1:3].tolist() == [1, 1]
    assert problem.evaluations[[0, 3]].min() > 1
    everything, problem = direct(name, Counting().eval(), clean, (labels + 1) % 10)
    assert torch.equal(everything, clean)
    assert problem.evaluations.tolist() == [1] * 4


# Range.


@pytest.mark.parametrize("name", ["torchattacks:EADL1", "torchattacks:EADEN"])
def test_results_are_images(name: str) -> None:
    torchattacks = library(name)
    clean, labels = images(4)
    network = Counting().eval()
    raw = getattr(torchattacks, name.partition(":")[2])(network, max_iterations=10)(clean, labels)
    assert raw.min() < 0
    found, _ = direct(name, network, clean, labels, **FEW[name])
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("name", ["foolbox:FGSM", "torchattacks:FGSM"])
def test_images_outside_the_range_are_refused_unless_by_rounding(name: str) -> None:
    library(name)
    clean, labels = images(2)
    network = Counting().eval()
    found, _ = direct(name, network, clean + 1e-6, labels, epsilons=[0.1])
    assert found.max() <= 1
    with pytest.raises(BenchError, match=r"images must be in \[0, 1\], not in \[-1, 1\]"):
        direct(name, network, clean * 2 - 1, labels)
    with pytest.raises(BenchError, match=r"images must be in \[0, 1\]"):
        direct(name, network, clean / 0, labels)


# Model state.


@pytest.mark.parametrize(
    "name", ["foolbox:FGSM", "foolbox:L2DeepFoolAttack", "torchattacks:FGSM", "torchattacks:APGD"]
)
@pytest.mark.parametrize("left", [10**9, 2])
def test_modes_and_frozen_layers_stay(name: str, left: int) -> None:
    """By the adapter alone, and also when something fails inside the library."""
    library(name)
    network = frozen()
    clean, _ = images(3)
    labels = network.eval()(clean).argmax(1)
    network = frozen()
    network.left = left
    before = state(network)
    if left == 2:
        with pytest.raises(ZeroDivisionError):
            direct(name, network, clean, labels)
    else:
        direct(name, network, clean, labels)
    assert state(network) == before
    assert not network._forward_pre_hooks


@pytest.mark.parametrize("name", ["torchattacks:FGSM", "foolbox:FGSM"])
def test_dropout_is_off_while_attacked(name: str) -> None:
    library(name)
    clean, _ = images(3)
    labels = Normalised().eval()(clean).argmax(1)
    first, _ = direct(name, Normalised().train(), clean, labels, epsilons=[0.2])
    other, _ = direct(name, Normalised().eval(), clean, labels, epsilons=[0.2])
    assert torch.equal(first, other)
    assert not torch.equal(first, clean)


# Parameter gradients.


@pytest.mark.parametrize("name", LEAVES_GRADIENTS)
def test_no_gradient_is_left_or_added_to(name: str) -> None:
    library(name)
    clean, labels = images(2)
    network = Counting().eval()
    first, *rest = network.parameters()
    first.grad = torch.ones_like(first)
    direct(name, network, clean, labels, **FEW.get(name, {}))
    run(name, network, clean, labels, FEW.get(name, {}))
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(parameter.grad is None for parameter in rest)


def test_a_gradient_that_is_there_is_not_added_to() -> None:
    """Also by attacks that come without an adapter."""
    clean, labels = images(2)
    network = Counting().eval()
    first = next(network.parameters())
    kept = torch.ones_like(first)
    first.grad = kept
    run("test_adapter_traps:backward", network, clean, labels, {})
    assert first.grad is kept
    assert torch.equal(kept, torch.ones_like(first))


def _backward(problem: Problem) -> Tensor:
    assert problem.model is not None
    nn.functional.cross_entropy(problem.model(problem.images), problem.labels).backward()
    return problem.images


backward = base.Attack(_backward, deterministic=True, access="gradient")


# Random sources.


@pytest.mark.parametrize(
    "name",
    [
        "foolbox:DatasetAttack",
        "torchattacks:OnePixel",
        "torchattacks:Pixle",
        pytest.param("foolbox:PointwiseAttack", marks=pytest.mark.slow),
    ],
)
def test_numpys_generator_follows_the_seed(name: str) -> None:
    library(name)
    clean, labels = images(4)
    found = []
    for number in (1, 2):
        np.random.seed(number)
        random.seed(number)
        torch.manual_seed(number)
        before = np.random.get_state()[1].tolist()
        network = Counting().eval()
        found.append(run(name, network, clean, labels, {}))
        assert np.random.get_state()[1].tolist() == before
    assert torch.equal(found[0].images, found[1].images)
    np.testing.assert_array_equal(found[0].evaluations, found[1].evaluations)


# Repeats that are silently the same.


@pytest.mark.parametrize("name", ["APGD", "APGDT", "Square"])
def test_a_library_seed_differs_from_repeat_to_repeat(name: str) -> None:
    torchattacks = library("torchattacks:")
    clean, labels = images(3)
    network = Counting().eval()
    cls = getattr(torchattacks, name)
    quick = {"n_queries": 20} if name == "Square" else {"steps": 2}
    raw = []
    for number in (1, 2):
        torch.manual_seed(number)
        raw.append(cls(network, eps=0.1, **quick)(clean, labels))
    assert torch.equal(*raw), "the library's seed would have to be fixed"
    given = {"epsilons": [0.1], **quick}
    done = run(f"torchattacks:{name}", network, clean, labels, given, repeats=3)
    assert done.moved.all()
    assert not done.identical.any()


def test_seeds_differ_by_everything_they_should() -> None:
    parts = [(0, 1), ("a", "b"), (0, 1), (0, 7)]
    seeds = {
        seed_of(s, name, repeat, sample)
        for s in parts[0]
        for name in parts[1]
        for repeat in parts[2]
        for sample in parts[3]
    }
    assert len(seeds) == 16


@pytest.mark.parametrize(
    ("name", "given", "deterministic"),
    [
        ("foolbox:FGSM", {}, True),
        ("foolbox:FGSM", {"random_start": True}, False),
        ("foolbox:PGD", {}, False),
        ("foolbox:PGD", {"random_start": False}, True),
        ("foolbox:SpatialAttack", {}, True),
        ("foolbox:SpatialAttack", {"grid_search": False}, False),
        ("torchattacks:PGD", {"random_start": False}, True),
        ("torchattacks:UPGD", {"random_start": True}, False),
        ("torchattacks:DIFGSM", {"random_start": False}, False),
        ("torchattacks:FAB", {}, True),
    ],
)
def test_an_option_may_decide_whether_a_repeat_is_another(
    name: str, given: dict[str, Any], deterministic: bool
) -> None:
    library(name)
    attack = base.load(name)
    assert attack.is_deterministic(attack.options(given)) == deterministic
    clean, labels = images(3)
    more = {"epsilons": [0.2]} if attack.strength else {}
    done = run(name, Counting(), clean, labels, {**given, **more}, repeats=2)
    assert done.moved.all()
    assert bool(done.identical[1]) == deterministic


# Graph attached.


@pytest.mark.parametrize("name", ["torchattacks:APGD", "torchattacks:APGDT"])
def test_no_graph_is_returned(name: str) -> None:
    library(name)
    clean, labels = images(2)
    with torch.enable_grad():
        found, _ = direct(name, Counting().eval(), clean, labels, steps=2)
    assert not found.requires_grad


# Channels, dtypes.


@pytest.mark.parametrize("name", ["TIFGSM", "PIFGSM", "PIFGSMPP"])
def test_colour_only_attacks_say_so(name: str) -> None:
    library("torchattacks:")
    clean, labels = images(2)
    with pytest.raises(BenchError, match=f"'torchattacks:{name}' takes images of 3 channels, not "):
        direct(f"torchattacks:{name}", Counting(), clean, labels)
    assert base.load(f"torchattacks:{name}").channels == (3,)


@pytest.mark.parametrize("name", ["foolbox:PGD", "torchattacks:PGD", "torchattacks:APGD"])
def test_labels_of_another_whole_type(name: str) -> None:
    library(name)
    clean, labels = images(3)
    expected, _ = direct(name, Counting().eval(), clean, labels)
    found, _ = direct(name, Counting().eval(), clean, labels.int())
    assert torch.equal(found, expected)


# Arguments and packages.


def test_needed_arguments_have_defaults() -> None:
    library("foolbox:")
    assert base.load("foolbox:VirtualAdversarialAttack").defaults["steps"] == 10


def test_a_package_that_a_class_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    library("foolbox:")
    from bench.attacks import foolbox_adapter

    spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "numba" else spec(n))
    foolbox_adapter.load.cache_clear()
    with pytest.raises(BenchError, match="the package 'numba' is not installed: attack 'foolbox:L"):
        base.load("foolbox:L2BrendelBethgeAttack")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("foolbox:BinarizationRefinementAttack", "networks that do not binarise"),
        ("torchattacks:AutoAttack", "10 steps in place of 100; use 'autoattack'"),
        ("torchattacks:LGV", "it wants training data"),
        ("torchattacks:MultiAttack", "name each of them"),
        ("torchattacks:VANILA", "returns the images as they are"),
    ],
)
def test_what_is_refused_says_why(name: str, why: str) -> None:
    with pytest.raises(BenchError, match=f"attack '{name}' is not supported: .*{why}"):
        base.load(name)


# What was found on the way.


class ByBrightness(nn.Module):
    """Middling images are class 0, dark ones 1, bright ones 2: uniform noise is always class 0."""

    def forward(self, batch: Tensor) -> Tensor:
        mean = batch.flatten(1).mean(1)
        return torch.stack([0.1 - (mean - 0.5).abs(), 0.3 - mean, mean - 0.7], 1) * 20


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("BoundaryAttack", {"steps": 5}),
        ("HopSkipJumpAttack", {"steps": 1}),
    ],
)
def test_one_image_without_a_starting_point_does_not_fail_the_others(
    name: str, given: dict[str, Any]
) -> None:
    foolbox = library("foolbox:")
    clean = torch.full((3, 1, 12, 12), 0.5)
    clean[1] = 0.9
    labels = torch.tensor([0, 2, 0])
    network = ByBrightness()
    raw = getattr(foolbox.attacks, name)(**given)
    model = foolbox.PyTorchModel(network.eval(), bounds=(0, 1), device="cpu")
    with pytest.raises(ValueError, match="init_attack failed for 2"):
        raw(model, clean, labels, epsilons=None)
    done = run(f"foolbox:{name}", network, clean, labels, given)
    assert np.isfinite(done.l2).tolist() == [False, True, False]


@pytest.mark.parametrize("name", ["foolbox:DDNAttack", "torchattacks:FGSM"])
def test_a_network_without_parameters(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    library(name)
    clean = torch.full((2, 1, 4, 4), 0.61)
    labels = torch.tensor([2, 2])
    labels[:] = ByBrightness()(clean).argmax(1)
    given = {"epsilons": [0.3]} if "FGSM" in name else {}
    done = run(name, ByBrightness(), clean, labels, given)
    assert done.images.shape == clean.shape
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["torchattacks:JSMA", "torchattacks:APGDT", "torchattacks:FAB"])
def test_other_numbers_of_classes_than_ten(name: str) -> None:
    """Images of the last class, and a strength so small that every other class is aimed at."""
    library(name)
    clean, _ = images(3)
    network = Normalised(4).eval()
    network.last.bias.data[3] += 2
    labels = network(clean).argmax(1)
    assert (labels == 3).any()
    given = {"multi_targeted": True} if name.endswith("FAB") else {}
    given |= {} if name.endswith("JSMA") else {"epsilons": [1e-4, 0.8]}
    given |= {"gamma": 0.3} if name.endswith("JSMA") else {"steps": 5}
    done = run(name, network, clean, labels, given)
    assert np.isfinite(done.l2).any()


def test_autoattack_aims_at_classes_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    pyautoattack = pytest.importorskip("pyautoattack")
    aimed = []

    def spy(self: Any, clean: Tensor, labels: Tensor, **_: Any) -> tuple[Tensor, Tensor]:
        aimed.append((self.apgd_targeted.n_target_classes, self.fab.n_target_classes))
        return clean, labels

    monkeypatch.setattr(pyautoattack.AutoAttack, "run_standard_evaluation", spy)
    clean, _ = images(2)
    for classes in (4, 10, 20):
        network = Normalised(classes).eval()
        run("autoattack", network, clean, network(clean).argmax(1), {})
    assert aimed == [(3, 3), (9, 9), (9, 9)]


def test_autoattack_with_fewer_classes_and_under_a_tracer() -> None:
    pytest.importorskip("pyautoattack")
    clean, _ = images(1)

    def trace(*_: Any) -> None:
        return None

    network = Normalised(5).eval()
    labels = network(clean).argmax(1)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        done = run("autoattack", network, clean, labels, {"epsilons": [0.5], "version": "rand"})
        kept = sys.gettrace()
    finally:
        sys.settrace(before)
    assert kept is trace
    assert np.isfinite(done.l2).all()
    few = Normalised(3).eval()
    with pytest.raises(BenchError, match="needs a network of 4 classes or more, not 3"):
        run("autoattack", few, clean, few(clean).argmax(1), {})


@pytest.mark.parametrize(
    "name",
    ["foolbox:PGD", "foolbox:DDNAttack", "torchattacks:APGD", "torchattacks:CW", "torchattacks:GN"],
)
def test_one_by_one_results_do_not_depend_on_the_batch(name: str) -> None:
    library(name)
    clean, labels = images(4)
    attack = base.load(name)
    given: dict[str, Any] = {"one_by_one": True}
    if attack.strength:
        given["epsilons"] = [0.5 if name.endswith("GN") else 0.1]
    network = Counting()
    whole = run(name, network, clean, labels, given, samples=[3, 5, 8, 9])
    part = run(name, network, clean[2:], labels[2:], given, samples=[8, 9])
    assert torch.equal(whole.images[2:], part.images)
    np.testing.assert_array_equal(whole.evaluations[2:], part.evaluations)
    renumbered = run(name, network, clean[2:], labels[2:], given, samples=[8, 10])
    assert torch.equal(part.images[0], renumbered.images[0])
    chosen = attack.options(given)
    if not attack.is_deterministic(chosen):
        assert not torch.equal(part.images[1], renumbered.images[1])
    assert not attack.depends_on_batch(chosen)
    assert attack.depends_on_batch(attack.options({}))


def test_a_problem_without_a_module_is_refused() -> None:
    library("foolbox:")
    clean, labels = images(2)
    network = Counting().eval()
    problem = Problem(clean, labels, network, KeyedSource(0, "x", 0, range(2)))
    with pytest.raises(BenchError, match="needs the network as a module"):
        base.load("foolbox:FGSM").run(problem, **options(TABLE["foolbox:DDNAttack"]))
