"""Backbones by name: the paper's networks from `arches`, and plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import arches
from bench.errors import BenchError
from bench.registry import Registry, one_line

if TYPE_CHECKING:
    from torch import nn

REGISTRY = Registry(
    "backbone", {name: ("arches:create", summary) for name, summary in arches.BACKBONES.items()}
)


def is_declared(name: str) -> bool:
    """Whether `name` is one of the declared networks, which exist in all variants."""
    return name in arches.BACKBONES


def unsupported(name: str, variant: str) -> str | None:
    """Why this backbone does not exist in this variant, or None if it does."""
    if is_declared(name):
        possible = tuple(arches.VARIANTS)
        if variant in possible:
            return None
        return f"'{name}' has no variant '{variant}'; it has {', '.join(possible)}"
    if variant == "bu":
        return None
    return (
        f"'{name}' is a plugin and exists as 'bu' only; "
        f"variant '{variant}' exists for {', '.join(sorted(arches.BACKBONES))}"
    )


def build(
    name: str, variant: str, in_chans: int, num_classes: int, options: Mapping[str, Any]
) -> nn.Module:
    """Build a backbone: N x in_chans x H x W in, logits N x num_classes out.

    Raises:
        BenchError: unknown, not importable, wrong variant or options, or not an nn.Module.
    """
    from torch import nn

    REGISTRY.find(name)
    reason = unsupported(name, variant)
    if reason:
        raise BenchError(reason)
    if is_declared(name):
        try:
            return arches.create(
                name, variant=variant, in_chans=in_chans, num_classes=num_classes, **options
            )
        except (ValueError, TypeError) as error:
            raise BenchError(f"backbone '{name}' ({variant}): {error}") from None
    factory = cast(Callable[..., object], REGISTRY.load(name))
    if not callable(factory):
        raise BenchError(f"backbone '{name}' is not callable; a plugin is a function or class")
    try:
        module = factory(in_chans, num_classes, **options)
    except Exception as error:  # a plugin may raise anything
        raise BenchError(f"backbone '{name}' cannot be built: {one_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise BenchError(
            f"backbone '{name}' returned {type(module).__name__}, not a torch.nn.Module"
        )
    return module
