"""Whose code a network runs."""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx, nn

from arches.surface import ScaledNetwork

# Stands for a package where a graph was traced: whose functions it calls is not known.
TRACED = "traced code"


def packages(network: nn.Module) -> frozenset[str]:
    """Top-level packages of the classes of all modules, :data:`TRACED` for traced graphs.

    An inverted network counts as ``arches`` and the model that it was made from, whole: what was
    in the root of that model, or traced by the inversion, is not among its modules.
    """
    return frozenset(_packages(network))


def _packages(module: nn.Module) -> Iterator[str]:
    traced = isinstance(module, fx.GraphModule)
    yield TRACED if traced else type(module).__module__.partition(".")[0]
    if isinstance(module, ScaledNetwork) and module.packages is not None:
        yield from module.packages
        return
    for child in module.children():
        yield from _packages(child)
