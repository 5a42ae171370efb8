"""The contract of an attack, and the registry of all of them.

An attack sees a `Problem`: images in [0, 1] and a network that predicts (normalisation is inside
it). It returns one candidate per image; whether that fools the network is decided outside, by a
fresh prediction.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from bench.attacks import values
from bench.errors import BenchError, did_you_mean
from bench.identity import code_fingerprint, reference_key
from bench.registry import Entry, Registry

if TYPE_CHECKING:
    from torch import Tensor

Access = Literal["decision", "score", "gradient"]
NORMS = ("Linf", "L2", "L1", "L0")

# Attacks of other libraries: `foolbox:L2PGD`. The adapter's `load(class name)` makes an `Attack`.
LIBRARIES = {
    "foolbox": "bench.attacks.foolbox_adapter",
    "torchattacks": "bench.attacks.torchattacks_adapter",
}

_NATIVE = {
    "single_pixel": "one pixel set to 0 or 1",
    "salt_and_pepper": "pixels set to 0 or 1, of growing density",
    "pointwise": "salt and pepper, then value by value back to the original",
    "additive_gaussian": "Gaussian noise, growing until the first hit",
    "additive_uniform": "uniform noise, growing until the first hit",
    "blended_uniform": "blending into an image of uniform noise until the first hit",
    "gaussian_blur": "Gaussian blur, growing until the first hit (deterministic)",
    "contrast_reduction": "fading to grey until the first hit (deterministic)",
    "spatial": "small shifts and rotations, first hit of a grid (deterministic)",
    "shifts": "small shifts, first hit of a grid (deterministic)",
    "pgd": "projected gradient descent in the L-infinity or L2 ball; who is fooled leaves",
    "fgsm": "one step along the gradient's sign, or in L2 along the gradient (deterministic)",
}


class Attacks(Registry):
    """The registry, which also knows `foolbox:<Class>` and `torchattacks:<Class>`."""

    def find(self, name: str) -> Entry:
        """As `Registry.find`; whether the library has that class shows when it is loaded."""
        library, colon, cls = name.partition(":")
        if colon and cls and library in LIBRARIES:
            return Entry(name, f"{library}:{cls}", source=library)
        return super().find(name)


REGISTRY = Attacks(
    "attack",
    {name: (f"bench.attacks.{name}:ATTACK", summary) for name, summary in _NATIVE.items()}
    | {
        "autoattack": (
            "bench.attacks.autoattack_adapter:ATTACK",
            "the standard AutoAttack, at fixed epsilons (extra `autoattack`)",
        )
    },
)


_FAST = 40  # predictions of a search by coarse steps and then finer ones


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack's declaration.

    Attributes:
        run: `run(problem, **options)` returns a tensor like `problem.images`: for every image the
            candidate found, or the image itself where none was.
        deterministic: such attacks are not repeated, for a repeat would be the same.
        version: raise it when results change.
        typical: about how many predictions it spends on an image (and strength) at the defaults,
            for the estimate of `plan`.
        steps: the option that these grow with, such as a number of steps; "" for none.
        defaults: options with their values. What a suite gives must be like it: true or false, a
            word, a number (whole where this one is, and positive where this one is), or a list.
        choices: the words an option may have.
        norm: which distance it looks at by its own account: "L2", "Linf", "L0", "L1", or "" for
            none.
        access: what it needs of the network: its decisions, its scores, or gradients, which are
            recorded for "gradient" alone.
        channels: numbers of image channels it takes; empty for any.
        classes: the least number of classes that it needs; 0 for any.
        strength: the argument of `run` that takes one of the option `epsilons`, where an attack
            has a fixed strength; it is then run once for each and gives a curve like others. What
            is larger than that in its norm does not count there (L0 counts pixels).
        batch_dependent: results depend on which images are in a batch (libraries that draw random
            numbers for the batch); the batch size is then part of the identity, unless the option
            `one_by_one` is on.
        random_when: an option with the value at which the attack draws random numbers, where that
            decides; `deterministic` is then what the defaults come to.
        package: an installed package whose version (or code) belongs to the identity.
        parse: checks and completes options, in place of `defaults` and `choices`.
        required: options that a suite has to give, for they have no default.
    """

    run: Callable[..., Tensor]
    deterministic: bool
    version: int = 1
    typical: int = 100
    steps: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    norm: str = ""
    access: Access = "decision"
    channels: tuple[int, ...] = ()
    classes: int = 0
    strength: str = ""
    batch_dependent: bool = False
    random_when: Mapping[str, Any] = field(default_factory=dict)
    package: str = ""
    parse: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    required: tuple[str, ...] = ()

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults with the given values.

        Raises:
            BenchError: an option this attack does not have, or of another type.
        """
        if self.parse is not None:
            return self.parse(given)
        for key, value in given.items():
            if key not in self.defaults:
                known = ", ".join(sorted(self.defaults)) or "it has none"
                raise BenchError(f"unknown option '{key}'; known: {known}")
            if key in self.choices:
                if value not in self.choices[key]:
                    known = ", ".join(self.choices[key])
                    raise BenchError(f"option '{key}' must be one of {known}, not {value!r}")
            elif not (self.strength and key == "epsilons"):
                values.check(key, self.defaults[key], value)
        found = {**self.defaults, **given}
        if self.strength:
            found["epsilons"] = values.strengths(found["epsilons"])
            if "epsilons" in given and self.norm_with(found) == "Linf":
                values.within_range(found["epsilons"])
        return found

    def spends(self, options: Mapping[str, Any]) -> float:
        """About how many predictions it spends on an image (and strength) with these options."""
        if options.get("search") == "fast":
            return min(self.typical, _FAST)
        return self.typical * (options[self.steps] / self.defaults[self.steps] if self.steps else 1)

    def is_deterministic(self, options: Mapping[str, Any]) -> bool:
        """Whether a repeat with these options would be the same."""
        if not self.random_when:
            return self.deterministic
        return all(options.get(key) != value for key, value in self.random_when.items())

    def depends_on_batch(self, options: Mapping[str, Any]) -> bool:
        """Whether results with these options depend on which images are in a batch."""
        return self.batch_dependent and not options.get("one_by_one", False)

    def strengths(self, options: Mapping[str, Any]) -> tuple[float | None, ...]:
        """The strengths to run it at; (None,) for an attack that looks for the smallest one."""
        return tuple(map(float, options["epsilons"])) if self.strength else (None,)

    def norm_with(self, options: Mapping[str, Any]) -> str:
        """The norm with these options: an option `norm` decides, as AutoAttack's does."""
        return str(options.get("norm", self.norm))

    def arguments(self, options: Mapping[str, Any], strength: float | None) -> dict[str, Any]:
        """What `run` is called with besides the problem."""
        if strength is None:
            return dict(options)
        rest = {key: value for key, value in options.items() if key != "epsilons"}
        return {**rest, self.strength: strength}


def load(name: str) -> Attack:
    """Return the attack of that name; a plain function counts as random, and its further parameters
    are its options.

    Raises:
        BenchError: unknown, does not import, or no attack.
    """
    library, _, cls = name.partition(":")
    if library in LIBRARIES and cls:
        import importlib

        adapted: Attack = importlib.import_module(LIBRARIES[library]).load(cls)
        return adapted
    found = REGISTRY.load(name)
    if isinstance(found, Attack):
        return _declared(name, found)
    if callable(found):
        return _from_function(found)
    raise BenchError(f"attack '{name}' is neither an Attack nor a function")


def _declared(name: str, attack: Attack) -> Attack:
    """An attack as it was declared, if it can work: a misspelt norm would bind no perturbation, and
    a misspelt access would leave gradients off."""
    plain = attack.norm.lower().replace("-", "").replace("infinity", "inf")
    meant = next((norm for norm in NORMS if norm.lower() == plain), attack.norm)
    if meant != attack.norm:
        raise BenchError(f"attack '{name}' has the norm '{attack.norm}'; write '{meant}'")
    if attack.access not in get_args(Access):
        raise BenchError(
            f"attack '{name}' has the access '{attack.access}'; it must be decision, score or "
            "gradient"
        )
    if attack.strength and attack.parse is None:
        if "epsilons" not in attack.defaults:
            raise BenchError(
                f"attack '{name}' has a strength, '{attack.strength}', but no `epsilons` among its "
                "defaults, such as (0.1, 0.2)"
            )
        try:
            values.strengths(attack.defaults["epsilons"])
        except BenchError as error:
            raise BenchError(f"attack '{name}': {error}") from error
    return attack


def _from_function(function: Callable[..., Tensor]) -> Attack:
    try:
        further = list(inspect.signature(function).parameters.values())[1:]
    except (TypeError, ValueError):  # some callables of C extensions have no signature
        further = []
    names = [p.name for p in further if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    defaults = {p.name: p.default for p in further if p.name in names and p.default is not p.empty}

    def parse(given: Mapping[str, Any]) -> dict[str, Any]:
        for key, value in given.items():
            if key not in names:
                raise BenchError(f"unknown option '{key}'{did_you_mean(key, [*names, 'label'])}")
            if isinstance(defaults.get(key), bool):
                values.check(key, defaults[key], value)
            if values.is_number(defaults.get(key)) and not values.is_number(value):
                raise BenchError(f"option '{key}' must be a number, not {value!r}")
        # The function's own defaults are part of its code, and need not be plain data.
        return dict(given)

    required = tuple(name for name in names if name not in defaults)
    return Attack(function, deterministic=False, defaults=defaults, parse=parse, required=required)


def key(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies an attack with these options: name, version, all option values, code.

    Raises:
        BenchError: unknown attack or option.
    """
    attack = load(name)
    found = reference_key(REGISTRY.find(name), attack.options(options))
    if attack.package:
        found["code"] = code_fingerprint(attack.package)
    return {**found, "version": attack.version}
