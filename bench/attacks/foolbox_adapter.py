"""`foolbox:<Class>`: the attacks of Foolbox 3 (Rauber et al., 2020; extra `foolbox`)."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

import torch
from torch import Tensor

from bench.attacks import library_adapter
from bench.attacks.base import Attack
from bench.attacks.capabilities import NEEDED, PACKAGES, Capability, find
from bench.attacks.library_adapter import Target
from bench.attacks.library_options import Option, declare, from_signature
from bench.attacks.problem import Problem
from bench.errors import BenchError

# What the adapter says itself, or a suite cannot.
HIDDEN = ("distance", "init_attack", "tensorboard", "channel_axis", "reduced_dims")
# Attacks that start from an adversarial, and the class that finds it unless the suite names one.
# A class that is asked to do that itself fails for the whole batch where it fails for one image.
STARTS = {
    "BoundaryAttack": "LinearSearchBlendedUniformNoiseAttack",
    "HopSkipJumpAttack": "LinearSearchBlendedUniformNoiseAttack",
    "PointwiseAttack": "SaltAndPepperNoiseAttack",
    "L0BrendelBethgeAttack": "LinearSearchBlendedUniformNoiseAttack",
    "L1BrendelBethgeAttack": "LinearSearchBlendedUniformNoiseAttack",
    "L2BrendelBethgeAttack": "LinearSearchBlendedUniformNoiseAttack",
    "LinfinityBrendelBethgeAttack": "LinearSearchBlendedUniformNoiseAttack",
}
STARTERS = (
    "DatasetAttack",
    "GaussianBlurAttack",
    "LinearSearchBlendedUniformNoiseAttack",
    "LinearSearchContrastReductionAttack",
    "SaltAndPepperNoiseAttack",
)
# As in the library's own defaults.
STARTER_OPTIONS = {"LinearSearchBlendedUniformNoiseAttack": {"steps": 50}}


@cache
def load(name: str) -> Attack:
    """The attack of a class of `foolbox.attacks`.

    Raises:
        BenchError: unknown class, the library or a package the class needs is not installed.
    """
    what = find("foolbox", name)
    _require("foolbox", f"pip install 'topdown-bench[foolbox]' for attack 'foolbox:{name}'")
    if what.name in PACKAGES:
        package = PACKAGES[what.name]
        _require(package, f"attack 'foolbox:{name}' needs it and foolbox does not install it")
    options = from_signature(_class(what.attack), HIDDEN, needed=NEEDED.get(what.name))
    if what.attack in STARTS:
        options["init_attack"] = Option(STARTS[what.attack], "word", choices=STARTERS)

    def run(
        problem: Problem, *, one_by_one: bool, epsilon: float | None = None, **arguments: Any
    ) -> Tensor:
        """Run the class; its own account of what succeeded decides what is returned."""

        def perturb(target: Target) -> Tensor:
            return _perturb(what, target, epsilon, arguments)

        return library_adapter.attack(problem, perturb, what, one_by_one=one_by_one)

    return declare(run, what, options)


def _require(package: str, hint: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise BenchError(f"the package '{package}' is not installed: {hint}")


def _class(name: str) -> Any:
    import foolbox

    found = getattr(foolbox.attacks, name, None)
    if found is None:
        raise BenchError(f"foolbox {foolbox.__version__} has no attack '{name}'")
    return found


def _perturb(
    what: Capability, target: Target, epsilon: float | None, arguments: dict[str, Any]
) -> Tensor:
    """The images with those replaced where the library says that they fool the network."""
    from foolbox.criteria import Misclassification
    from foolbox.models.pytorch import PyTorchModel

    model = PyTorchModel(target.model, bounds=(0, 1), device=target.images.device)
    own = {key: value for key, value in arguments.items() if key != "init_attack"}
    start = arguments.get("init_attack")
    made = _class(what.attack)(**own)
    images, labels = target.images, target.labels
    more: dict[str, Any] = {}
    rows = torch.arange(len(images), device=images.device)
    if start is not None:
        starter = _class(start)(**STARTER_OPTIONS.get(start, {}))
        _feed(start, starter, model, images)
        points, _, found = starter(model, images, Misclassification(labels), epsilons=None)
        rows = rows[found]
        if len(rows) == 0:
            return images
        more["starting_points"] = points[rows]
    _feed(what.attack, made, model, images)
    if what.attack != "SpatialAttack":  # it takes no epsilons at all
        more["epsilons"] = epsilon
    criterion = _criterion(what.attack, target, rows)
    _, clipped, success = made(model, images[rows], criterion, **more)
    result = images.clone()
    result[rows[success]] = clipped[success]
    return result


def _feed(name: str, made: Any, model: Any, images: Tensor) -> None:
    if name == "DatasetAttack":
        made.feed(model, images)


def _criterion(name: str, target: Target, rows: Tensor) -> Any:
    """Misclassification; for GenAttack, which needs a target, as the second most likely class."""
    from foolbox.criteria import Misclassification, TargetedMisclassification

    if name != "GenAttack":
        return Misclassification(target.labels[rows])
    others = target.logits.scatter(1, target.labels[:, None], -torch.inf)
    return TargetedMisclassification(others.argmax(1)[rows])
