"""Backbones by name: the paper's networks, models of timm and torchvision, and plugins."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

import arches
from arches import support
from bench.errors import BenchError, NotInvertibleError, did_you_mean
from bench.registry import Entry, Registry, one_line
from bench.suite.words import shown

if TYPE_CHECKING:
    from torch import nn

# Where the models behind a prefix come from; the version of that package is in their identity.
LIBRARIES = {"timm": "timm:create_model", "torchvision": "torchvision.models:get_model"}


class Backbones(Registry):
    """The registry, which also knows `timm/<name>` and `torchvision/<name>`."""

    def find(self, name: str) -> Entry:
        """As `Registry.find`; whether the library has that model shows when it is built."""
        if is_foreign(name):
            home = name.partition("/")[0]
            return Entry(name, LIBRARIES[home], source=home)
        return super().find(name)


REGISTRY = Backbones(
    "backbone", {name: ("arches:create", summary) for name, summary in arches.BACKBONES.items()}
)


def is_declared(name: str) -> bool:
    """Whether `name` is one of the declared networks of the paper."""
    return name in arches.BACKBONES


def is_plugin(name: str) -> bool:
    """Whether `name` is a network of one's own or of a package, neither the paper's nor of timm
    or torchvision."""
    return not is_declared(name) and not is_foreign(name)


def is_foreign(name: str) -> bool:
    """Whether `name` is a model of timm or torchvision."""
    home, slash, model = name.partition("/")
    return bool(slash and model) and home in LIBRARIES


def require(name: str) -> None:
    """Make sure that a backbone exists; what is not ours is imported, unless it is known anyway.

    Raises:
        BenchError: there is none of that name, or it does not import.
    """
    if is_foreign(name):
        require_model(name)
    elif REGISTRY.find(name).source != "built in":
        REGISTRY.load(name)


def require_model(name: str) -> None:
    """Make sure that `timm/<name>` or `torchvision/<name>` exists.

    The library itself is imported, which takes seconds, only for names that the table of measured
    models does not list.

    Raises:
        BenchError: the library is not installed, or has no such model.
    """
    home, _, model = name.partition("/")
    if importlib.util.find_spec(home) is not None and support.find(name):
        return
    try:
        if home == "timm":
            import timm

            # A tag after the dot names published weights of the same model.
            known, model = timm.list_models(), model.partition(".")[0]
        else:
            from torchvision.models import list_models

            known = list_models()
    except ImportError as error:
        raise BenchError(
            f"'{name}': {home} does not import ({error}); pip install 'topdown-bench[{home}]'"
        ) from None
    if model not in known:
        raise BenchError(f"{home} has no model '{model}'{did_you_mean(model, known)}")


def refusal(name: str, variants: Iterable[str], options: Mapping[str, Any]) -> str | None:
    """Why a model of a library cannot be had in one of the variants at any size of image, if the
    table of measured models says so; other reasons show when it is built."""
    # Keywords may make another network of it, and given stages a case that can be done.
    if not is_foreign(name) or options.get("model") or options.get("stages"):
        return None
    rows = support.find(name)
    refused = [variant for variant in variants if variant in rows and rows[variant].is_final]
    if not refused:
        return None
    row = rows[refused[0]]
    reason = row.reason.partition(";")[0].rstrip(".")
    hint = "for bu alone, give it `variants: [bu]`"
    if row.short_reason != "isotropic":
        hint = f"give it `stages` (`bench describe {name} --stages`), or, {hint}"
    return f"'{name}' cannot be inverted ({', '.join(refused)}): {reason}; {hint}"


def build(
    name: str,
    variant: str,
    in_chans: int,
    num_classes: int,
    options: Mapping[str, Any],
    image_size: int = 64,
) -> nn.Module:
    """Build a backbone: N x in_chans x H x W in, logits N x num_classes out.

    `image_size` is the side in pixels that an inverted network is checked for.

    Raises:
        NotInvertibleError: it cannot be inverted; the message gives the reason.
        BenchError: unknown, not importable, wrong variant or options, or not an nn.Module.
    """
    REGISTRY.find(name)
    try:
        if is_declared(name):
            return arches.create(
                name, variant=variant, in_chans=in_chans, num_classes=num_classes, **options
            )
        if is_foreign(name):
            return arches.invert(name, variant, in_chans, num_classes, image_size, **options)
        module, inversion = plugin(name, in_chans, num_classes, options)
        if variant == "bu" and not inversion.get("small_stem"):
            return module
        return arches.invert(module, variant, in_chans, num_classes, image_size, **inversion)
    except (ValueError, TypeError) as error:
        # Of the paper's networks there is nothing to invert, and that part is not even loaded.
        inverted = not is_declared(name) and isinstance(error, arches.InversionError)
        kind = NotInvertibleError if inverted and variant != "bu" else BenchError
        raise kind(f"backbone '{name}' ({variant}): {error}") from None


def plugin(
    name: str, in_chans: int, num_classes: int, options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """The module that a plugin makes, and those of the options that are for its inversion.

    Raises:
        BenchError: it does not import, or makes no nn.Module.
    """
    factory = _factory(name)
    own, inversion = split_options(factory, options)
    return _from_plugin(name, factory, in_chans, num_classes, own), inversion


def takes_stages(name: str) -> bool:
    """Whether `stages` among the options of a backbone are those of its inversion."""
    if is_declared(name) or is_foreign(name):
        return is_foreign(name)
    factory = cast(Callable[..., object], REGISTRY.load(name))
    return callable(factory) and "stages" in split_options(factory, {"stages": None})[1]


def wrong_option(name: str, key: str, value: object, others: Iterable[str] = ()) -> str | None:
    """What is wrong with an option of a backbone, or None; of a plugin the name alone is looked at,
    values show when it is built. `others` are further names to suggest."""
    if not is_declared(name) and not is_foreign(name):
        taken = _option_names(REGISTRY.load(name))
        if taken is None or key in taken:
            return None
        return f"unknown option '{key}'{did_you_mean(key, [*taken, *others])}"
    options = arches.Options if is_declared(name) else arches.InvertOptions
    known = [field.name for field in fields(options)]
    if key not in known:
        near = [*known, *others, *(["stages"] if is_foreign(name) else [])]
        return f"unknown option '{key}'{did_you_mean(key, near)}"
    try:
        options.parse({key: value})
    except ValueError as error:
        return str(error).rstrip(".")
    except TypeError:
        return f"cannot be {shown(value)}"
    return None


def split_options(
    factory: Callable[..., object], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of a plugin's factory, and those of `arches.invert`, told apart by name; a name that
    both have is the factory's."""
    try:
        own = set(inspect.signature(factory).parameters)
    except (TypeError, ValueError):  # some built-in callables have no signature
        own = set()
    known = {"stages", *(field.name for field in fields(arches.InvertOptions))} - own
    inversion = {key: value for key, value in options.items() if key in known}
    return {key: value for key, value in options.items() if key not in known}, inversion


def _option_names(factory: object) -> set[str] | None:
    """Options that a plugin takes, those of its inversion among them; None where any may do."""
    if not callable(factory):  # building it tells
        return None
    try:
        given = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):  # some built-in callables have no signature
        return None
    if any(each.kind is each.VAR_KEYWORD for each in given):
        return None
    # The first two are the numbers of channels and of classes, whatever they are called.
    plain = [each.name for each in given if each.kind is each.POSITIONAL_OR_KEYWORD]
    ahead = sum(each.kind is each.POSITIONAL_ONLY for each in given)
    named = {*plain[max(2 - ahead, 0) :], *(e.name for e in given if e.kind is e.KEYWORD_ONLY)}
    return named | {"stages", *(field.name for field in fields(arches.InvertOptions))}


def _factory(name: str) -> Callable[..., object]:
    factory = cast(Callable[..., object], REGISTRY.load(name))
    if not callable(factory):
        raise BenchError(f"backbone '{name}' is not callable; a plugin is a function or class")
    return factory


def _from_plugin(
    name: str,
    factory: Callable[..., object],
    in_chans: int,
    num_classes: int,
    options: Mapping[str, Any],
) -> nn.Module:
    from torch import nn

    try:
        module = factory(in_chans, num_classes, **options)
    except Exception as error:  # a plugin may raise anything
        raise BenchError(f"backbone '{name}' cannot be built: {one_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise BenchError(
            f"backbone '{name}' returned {type(module).__name__}, not a torch.nn.Module"
        )
    return module
