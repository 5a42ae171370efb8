"""`autoattack`: the ensemble of Croce and Hein (2020), by `pyautoattack` (extra `autoattack`)."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from bench.attacks import library_adapter
from bench.attacks.base import Attack
from bench.attacks.capabilities import BUILT_IN
from bench.attacks.library_adapter import Target
from bench.attacks.library_options import Option, parser
from bench.attacks.problem import Problem
from bench.errors import BenchError

if importlib.util.find_spec("pyautoattack") is None:
    raise ModuleNotFoundError("needs pyautoattack: pip install 'topdown-bench[autoattack]'")

# RobustBench's strengths for CIFAR-10; a suite says its own for other images.
EPSILONS = {"Linf": (8 / 255,), "L2": (0.5,), "L1": (12.0,)}
OPTIONS = {
    "norm": Option("Linf", "word", choices=tuple(EPSILONS)),
    "version": Option("standard", "word", choices=("standard", "plus", "rand")),
    "one_by_one": Option(False, "bool"),
}


def run(
    problem: Problem, *, epsilon: float, norm: str, version: str, one_by_one: bool = False
) -> Tensor:
    """AutoAttack at one epsilon: parts after the first see only what still withstands.

    With fewer than 10 classes it aims at all others instead of at 9.
    """

    def perturb(target: Target) -> Tensor:
        return _perturb(target, epsilon, norm, version)

    what = BUILT_IN["autoattack"]
    return library_adapter.attack(problem, perturb, what, one_by_one=one_by_one)


def _perturb(target: Target, epsilon: float, norm: str, version: str) -> Tensor:
    import pyautoattack

    least = BUILT_IN["autoattack"].classes
    if target.classes < least:
        raise BenchError(
            f"autoattack needs a network of {least} classes or more, not {target.classes}"
        )
    images, labels = target.images, target.labels
    with _silent():
        made = pyautoattack.AutoAttack(
            target.model,
            norm=norm,
            eps=epsilon,
            version=version,
            seed=target.seed,
            device=images.device,
        )
        for part in (made.apgd_targeted, made.fab):
            part.n_target_classes = min(part.n_target_classes, target.classes - 1)
        found, _ = made.run_standard_evaluation(images, labels, batch_size=len(images))
    keep = target.fooled(found)[:, None, None, None]
    return torch.where(keep, found.detach(), images)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Its flags are looked at elsewhere; its check for gradients in forward ends any tracing."""
    logger, trace = logging.getLogger("auto-attack"), sys.gettrace()
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
        sys.settrace(trace)


def _parse(given: Mapping[str, Any]) -> dict[str, Any]:
    """As for library attacks; the default epsilon follows the norm."""
    read = parser(OPTIONS, BUILT_IN["autoattack"])(given)
    return read if "epsilons" in given else {**read, "epsilons": EPSILONS[read["norm"]]}


ATTACK = Attack(
    run,
    deterministic=False,
    typical=BUILT_IN["autoattack"].evaluations,
    defaults=_parse({}),
    norm="Linf",
    access="gradient",
    classes=BUILT_IN["autoattack"].classes,
    strength="epsilon",
    batch_dependent=True,
    package="pyautoattack",
    parse=_parse,
)
