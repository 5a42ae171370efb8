"""Backbones by name: the paper's networks, models of timm and torchvision, and plugins."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

import arches
from bench.errors import BenchError, did_you_mean
from bench.registry import Entry, Registry, one_line

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


def is_foreign(name: str) -> bool:
    """Whether `name` is a model of timm or torchvision."""
    home, slash, model = name.partition("/")
    return bool(slash and model) and home in LIBRARIES


def require_model(name: str) -> None:
    """Make sure that `timm/<name>` or `torchvision/<name>` exists.

    Raises:
        BenchError: the library is not installed, or has no such model.
    """
    home, _, model = name.partition("/")
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
        BenchError: unknown, not importable, wrong variant or options, not an nn.Module, or it
            cannot be inverted; the message gives the reason.
    """
    REGISTRY.find(name)
    try:
        if is_declared(name):
            return arches.create(
                name, variant=variant, in_chans=in_chans, num_classes=num_classes, **options
            )
        if is_foreign(name):
            return arches.invert(name, variant, in_chans, num_classes, image_size, **options)
        factory = _factory(name)
        own, inversion = split_options(factory, options)
        module = _from_plugin(name, factory, in_chans, num_classes, own)
        if variant == "bu":
            return module
        return arches.invert(module, variant, in_chans, num_classes, image_size, **inversion)
    except (ValueError, TypeError) as error:
        raise BenchError(f"backbone '{name}' ({variant}): {error}") from None


def split_options(
    factory: Callable[..., object], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of a plugin's factory, and those of `arches.invert`, told apart by name; a name that
    both have is the factory's."""
    try:
        own = set(inspect.signature(factory).parameters)
    except (TypeError, ValueError):  # some built-in callables have no signature
        own = set()
    known = {field.name for field in fields(arches.InvertOptions)} - own
    inversion = {key: value for key, value in options.items() if key in known}
    return {key: value for key, value in options.items() if key not in known}, inversion


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
