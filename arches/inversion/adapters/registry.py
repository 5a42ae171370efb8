"""Adapters by the class of a model, and the check that a rewritten model computes the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from arches.inversion.errors import InversionError
from arches.inversion.observe import TOLERANCE


class Body(nn.Sequential):
    """What a model does before its head, as a chain of units that take and give one map.

    Args:
        units: by their paths, in order; dots nest them as they would in a model.
    """

    def __init__(self, units: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._unregularised: set[str] = set()
        for path, unit in units.items():
            home: nn.Module = self
            *parents, name = path.split(".")
            for parent in parents:
                if parent not in home._modules:
                    home.add_module(parent, nn.Sequential())
                home = home.get_submodule(parent)
            home.add_module(name, unit)

    def no_weight_decay(self) -> set[str]:
        """What the model leaves out of weight decay, under its names here."""
        return set(self._unregularised)

    def name_as(self, model: nn.Module) -> None:
        """Take over from a model, whose parameters these are, what it leaves out of decay."""
        own = getattr(model, "no_weight_decay", None)
        names = set(own()) if callable(own) else set()
        spared = {id(value) for name, value in model.named_parameters() if name in names}
        self._unregularised = {
            name for name, value in self.named_parameters() if id(value) in spared
        }


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What an adapter makes of a model.

    Attributes:
        body: with the parameters of the model.
        finish: what makes the model's own features of the map that leaves the body, such as a norm.
        own: picks what ``finish`` gives out of what ``forward_features`` of the model gives.
    """

    body: Body
    finish: Callable[[Tensor], Tensor] = lambda x: x
    own: Callable[[Any], Tensor] = lambda features: torch.as_tensor(features)


Adapter = Callable[[nn.Module], Rewriting | None]
"""Called with the model. It either changes the model, and what that computes stays the same, or
leaves it as it is and returns a :class:`Rewriting`."""

_F = TypeVar("_F", bound=Adapter)

_ADAPTERS: dict[str, Adapter] = {}


def register_adapter(class_name: str) -> Callable[[_F], _F]:
    """Register an adapter for the class of a model and those derived from it; a decorator.

    Args:
        class_name: the name of the class, so that its library need not be imported.
    """

    def keep(adapter: _F) -> _F:
        _ADAPTERS[class_name] = adapter
        return adapter

    return keep


def adapter_for(model: nn.Module) -> Adapter | None:
    """The adapter of the nearest class of a model, if one is registered."""
    for base in type(model).__mro__:
        if base.__name__ in _ADAPTERS:
            return _ADAPTERS[base.__name__]
    return None


def adapt(model: nn.Module, in_chans: int, sizes: tuple[int, ...]) -> nn.Module:
    """The model, or what its adapter makes of it, with the features checked.

    Args:
        model: may be changed; its parameters are those of the result.
        in_chans: channels of the image.
        sizes: sides of the images in pixels with which to check, of which the first is taken at
            which the model runs.

    Raises:
        InversionError: by the adapter, where no chain of units computes the same; where the model
            does not run; where features differ by more than ``TOLERANCE``.
    """
    adapter = adapter_for(model)
    if adapter is None:
        return model
    images, own = _own_features(model, in_chans, sizes)
    rewriting = adapter(model)
    with torch.no_grad():
        if rewriting is None:
            made: nn.Module = model
            expected, found = _tensors(own), _tensors(_features(model.eval(), images))
        else:
            made = rewriting.body
            expected = [rewriting.own(own)]
            found = [rewriting.finish(made.eval()(images))]
            rewriting.body.name_as(model)
    if not _same(expected, found):
        raise InversionError(
            "not faithful",
            f"what the adapter makes of {type(model).__name__} does not give the model's features.",
        )
    return made.train()


def _own_features(
    model: nn.Module, in_chans: int, sizes: tuple[int, ...]
) -> tuple[Tensor, list[Tensor]]:
    problem: Exception | None = None
    for side in dict.fromkeys(sizes):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            images = torch.randn(1, in_chans, side, side)
            try:
                return images, _features(model.eval(), images)
            except Exception as error:  # the model's own modules may raise anything
                problem = problem or error
    raise InversionError("forward", f"the model itself fails on an image: {problem}") from problem


def _features(model: nn.Module, images: Tensor) -> Any:
    forward = getattr(model, "forward_features", model)
    return forward(images)


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _same(expected: list[Tensor], found: list[Tensor]) -> bool:
    return len(expected) == len(found) and all(
        a.shape == b.shape
        and float((a - b).abs().max()) <= TOLERANCE * max(1, float(a.abs().max()))
        for a, b in zip(expected, found, strict=True)
    )
