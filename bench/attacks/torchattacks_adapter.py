"""`torchattacks:<Class>`: the attacks of torchattacks 3.5 (Kim, 2020; extra `torchattacks`)."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from bench.attacks import library_adapter
from bench.attacks.base import Attack
from bench.attacks.capabilities import Capability, find
from bench.attacks.library_adapter import Target
from bench.attacks.library_options import declare, from_signature
from bench.attacks.problem import Problem
from bench.errors import BenchError

# What the adapter says itself.
HIDDEN = ("model", "seed", "verbose", "n_classes")
# The classes say these in prose only. FAB's L1 fails inside the library.
WORDS = {
    "norm": ("Linf", "L2"),
    "noise_type": ("guassian", "uniform"),
    "kernel_name": ("gaussian", "linear", "uniform"),
    "pixel_mapping": ("random", "similarity", "similarity_random", "distance", "distance_random"),
}
LOSSES = {"APGD": ("ce", "dlr"), "Square": ("margin", "ce"), "UPGD": ("ce", "margin", "dlr")}
# Real numbers whose default is written as a whole one.
FLOATS = ("c", "kappa", "lam", "nsig", "scale")
INSTALL = (
    "pip install 'topdown-bench[torchattacks]', or `pip install --no-deps torchattacks`, for its "
    "release would set requests back to 2.25, which it never imports"
)


@cache
def load(name: str) -> Attack:
    """The attack of a class of `torchattacks`.

    Raises:
        BenchError: unknown or refused class, or the library is not installed.
    """
    what = find("torchattacks", name)
    if importlib.util.find_spec("torchattacks") is None:
        raise BenchError(
            f"the package 'torchattacks' is not installed: {INSTALL} (attack '{what.name}')"
        )
    cls = _class(name)
    words = WORDS | ({"loss": LOSSES[name]} if name in LOSSES else {})
    hidden = (*HIDDEN, what.strength)
    options = from_signature(cls, hidden, words, FLOATS)
    step = _ratio(cls, what)
    if step is not None:
        options["alpha"] = replace(options["alpha"], default=None, optional=True)

    def run(
        problem: Problem, *, one_by_one: bool, epsilon: float | None = None, **arguments: Any
    ) -> Tensor:
        """Run the class; what fools the network when asked again is returned."""
        given = dict(arguments)
        if epsilon is not None:
            given[what.strength] = int(epsilon) if what.strength == "pixels" else epsilon
            if step is not None and given["alpha"] is None:
                given["alpha"] = step * epsilon

        def perturb(target: Target) -> Tensor:
            return _perturb(cls, target, given)

        return library_adapter.attack(problem, perturb, what, one_by_one=one_by_one)

    return declare(run, what, options)


def _class(name: str) -> Any:
    import torchattacks

    found = getattr(torchattacks, name, None)
    if found is None:
        raise BenchError(f"torchattacks {torchattacks.__version__} has no attack '{name}'")
    return found


def _ratio(cls: Any, what: Capability) -> float | None:
    """Step over epsilon at the library's defaults, or None without a step.

    The library's step stays where it is when epsilon changes: 10 steps of 2/255 cannot use an
    epsilon of 32/255, and the network would look robust.
    """
    parameters = inspect.signature(cls.__init__).parameters
    if "alpha" not in parameters or not what.strength:
        return None
    return float(parameters["alpha"].default) / float(parameters[what.strength].default)


def _perturb(cls: Any, target: Target, arguments: dict[str, Any]) -> Tensor:
    """The images with those replaced that fool the network."""
    parameters = inspect.signature(cls.__init__).parameters
    fixed = {"seed": target.seed, "n_classes": target.classes}
    given = {key: value for key, value in fixed.items() if key in parameters}
    with contextlib.redirect_stdout(io.StringIO()):  # it reports a network without parameters
        made = cls(target.model, **given, **arguments)
    made.set_device(target.images.device)
    labels = target.labels
    if cls.__name__ == "JSMA":
        # It aims at (label + 1) % 10 whatever the number of classes.
        made.set_mode_targeted_by_label(quiet=True)
        labels = (labels + 1) % target.classes
    found = made(target.images.clone(), labels.clone()).detach().clamp(0, 1)
    keep = target.fooled(found)[:, None, None, None]
    return torch.where(keep, found, target.images)
