"""One module that a model calls again and again: each of its calls gets a module of its own."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from torch import nn

from arches.inversion.errors import InversionError
from arches.inversion.stages import Stages
from arches.inversion.trace import Call, PerCall
from arches.inversion.units import ChainUnit


def take_apart(
    model: nn.Module, root: Call, units: Sequence[ChainUnit]
) -> Callable[[], None] | None:
    """Give each call of a module without weights and statistics a module of its own.

    A model may have one activation or one pool and call it at every resolution. It computes the
    same with copies, and these can be told apart: by their maps, their cost, their place in a
    stage.

    Args:
        model: is changed; where its module ``relu`` was called three times, it has ``relu.0``,
            ``relu.1`` and ``relu.2``.
        root: one pass of it.
        units: of that pass; only they are taken apart, what is inside of them is left alone.

    Returns:
        What undoes it; ``None`` where nothing was changed.
    """
    calls = _count(root)
    repeated = {
        id(unit.module)
        for unit in units
        if calls[id(unit.module)] > 1 and not _has_state(unit.module)
    }
    if not repeated:
        return None
    replaced: list[tuple[str, nn.Module]] = []
    given: set[int] = set()
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if id(module) in repeated:
            # Under a second name it is a module of its own first.
            own = copy.deepcopy(module) if id(module) in given else module
            given.add(id(module))
            replaced.append((path, module))
            model.set_submodule(path, PerCall(own, calls[id(module)]))
    hook = model.register_forward_pre_hook(_from_the_first)

    def undo() -> None:
        hook.remove()
        for path, module in replaced:
            model.set_submodule(path, module)

    return undo


def require_own(root: Call, units: Sequence[ChainUnit], stages: Stages, graph: bool) -> None:
    """Refuse stages that share a module.

    Args:
        root: the pass that was read.
        units: of it.
        stages: of these units.
        graph: whether the units are pieces of the model's graph. Each is run once, but may be one
            of several calls of a module, which matters only for weights, in two stages.

    Raises:
        InversionError: for the first such module, or the first two that have the same weights.
    """
    calls = _count(root)
    found = _weights_of_two if graph else _called_again
    by_path = {unit.path: unit.module for unit in units}
    for path, module in found(stages, by_path, calls):
        state = graph or _has_state(module)
        what = "weights shared between stages" if state else "its calls"
        raise InversionError(
            "shared weights" if state else "shared module",
            f"module '{path}' is called {calls[id(module)]} times: {what} cannot be taken apart; "
            "give each call a module of its own.",
        )
    if tied := _tied(stages, by_path):
        raise InversionError(
            "shared weights",
            f"'{tied[0]}' and '{tied[1]}' have the same weights: weights shared between stages "
            "cannot be taken apart; give each module weights of its own.",
        )


def _called_again(
    stages: Stages, by_path: Mapping[str, nn.Module], calls: Mapping[int, int]
) -> Iterator[tuple[str, nn.Module]]:
    inside = {path for stage in stages.stages for path in stage.modules}
    for path, module in by_path.items():
        if path in inside and calls[id(module)] > 1:
            yield path, module


def _weights_of_two(
    stages: Stages, by_path: Mapping[str, nn.Module], _calls: Mapping[int, int]
) -> Iterator[tuple[str, nn.Module]]:
    owners: dict[int, int] = {}
    for number, stage in enumerate(stages.stages):
        for piece in stage.modules:
            for path, module in by_path[piece].named_modules():
                bare = next(module.parameters(recurse=False), None) is None
                if not bare and owners.setdefault(id(module), number) != number:
                    yield path, module


def _tied(stages: Stages, by_path: Mapping[str, nn.Module]) -> tuple[str, str] | None:
    """Two modules of two stages with a parameter in common."""
    owners: dict[int, tuple[int, str]] = {}
    for number, stage in enumerate(stages.stages):
        for path in stage.modules:
            for parameter in by_path[path].parameters():
                owner, first = owners.setdefault(id(parameter), (number, path))
                if owner != number:
                    return first, path
    return None


def _from_the_first(model: nn.Module, _args: Any) -> None:
    """A pass begins with the first copies, however the one before ended."""
    for module in model.modules():
        if isinstance(module, PerCall):
            module.coming = 0


def _has_state(module: nn.Module) -> bool:
    """Whether there are parameters or buffers, anywhere inside."""
    return any(True for _ in chain(module.parameters(), module.buffers()))


def _count(root: Call) -> Counter[int]:
    """How often each module is called, by identity."""
    found: Counter[int] = Counter()
    waiting = [root]
    while waiting:
        call = waiting.pop()
        found[id(call.module)] += 1
        waiting.extend(call.children)
    return found
