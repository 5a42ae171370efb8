"""What the leaderboard is told of an attack, to see which of two ought to be the stronger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.attacks.base import Access, load
from bench.attacks.capabilities import BUILT_IN, LIBRARIES, find
from leaderboard.results import AttackInfo, Kind

_NOISE = ("salt_and_pepper", "additive_gaussian", "additive_uniform", "blended_uniform", "GN")
_PIXELS = ("single_pixel", "pointwise", "InversionAttack")
# These follow gradients, but towards one class and within a share of the values: that images
# withstand them, or fall to others first, is no sign of masked gradients.
_CONFINED = ("JSMA",)
_ONE_STEP = ("FGSM", "FFGSM", "fgsm")


def info(name: str, given: Mapping[str, Any]) -> AttackInfo:
    """An attack with these options.

    Raises:
        BenchError: unknown attack or option.
    """
    attack = load(name)
    options = attack.options(given)
    strengths = tuple(s for s in attack.strengths(options) if s is not None)
    norm = attack.norm_with(options)
    return AttackInfo(attack.access, norm, kind(name), strengths, family(name, attack.access))


def family(name: str, access: Access) -> str:
    """In which group the overview sums an attack up: the paper's noise, blur and spatial attacks,
    and those that a network is defended against, with gradients or without."""
    tail = name.rpartition(":")[2].lower()
    if access == "gradient":
        return "gradient"
    if kind(name) == "noise" or tail in map(str.lower, _PIXELS) or "noise" in tail:
        return "noise"
    if "blur" in tail or "contrast" in tail:
        return "blur and contrast"
    if "spatial" in tail or tail == "shifts":
        return "spatial"
    return "black box"


def kind(name: str) -> Kind:
    """What it does, of the attacks known here; "other" for third parties'."""
    library, _, attack = name.partition(":")
    known = find(library, attack) if library in LIBRARIES else BUILT_IN.get(name)
    if known is None:
        return "other"
    if known.attack in _NOISE or "Noise" in known.attack:
        return "noise"
    if known.attack in _ONE_STEP or known.attack.endswith("FastGradientAttack"):
        return "one-step"
    if known.attack == "Square":
        return "square"
    iterative = known.access == "gradient" and known.attack not in _CONFINED
    return "iterative" if iterative else "other"
