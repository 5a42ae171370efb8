"""Adapters: how the stages of odd families are read, by the class of the model.

Discovery needs one map between stages. A family whose stages exchange lists or tuples registers a
function that rewrites its model, in place, to one that computes the same and has such maps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from torch import Tensor, nn

Adapter = Callable[[nn.Module], None]
"""Called with the model, which it changes; what the model computes stays the same."""

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


class _ListGroup(nn.Module):
    """Blocks that hand a list on, of which only the first map leaves the last of them."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor | list[Tensor]) -> Tensor:
        """Map N x C x H x W, or a list that starts with it, to N x D x h x w."""
        state = [x] if isinstance(x, Tensor) else x
        for block in self.blocks:
            state = block(state)
        return state[0]


@register_adapter("SelecSls")
def _selecsls(model: nn.Module) -> None:
    """Blocks keep the map of the first of their group at hand; a group takes and gives one map."""
    groups: list[list[nn.Module]] = []
    for block in cast(nn.Sequential, model.features):
        if block.is_first:
            groups.append([])
        groups[-1].append(block)
    model.features = nn.Sequential(*map(_ListGroup, groups))
    model.from_seq = nn.Identity()
