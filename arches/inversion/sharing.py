"""One module that a model calls again and again: each of its calls gets a module of its own."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
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


def require_own_modules(root: Call, units: Sequence[ChainUnit], stages: Stages) -> None:
    """Refuse stages made of modules that are called more than once.

    Args:
        root: the pass that was read.
        units: of it.
        stages: of these units.

    Raises:
        InversionError: for the first module of which this holds.
    """
    calls = _count(root)
    inside = {path for stage in stages.stages for path in stage.modules}
    for unit in units:
        if unit.path in inside and calls[id(unit.module)] > 1:
            raise _shared(unit.path, calls[id(unit.module)], _has_state(unit.module))


def require_own_weights(root: Call, units: Sequence[ChainUnit], stages: Stages) -> None:
    """Refuse stages of a graph, whose pieces are run once, but may be several calls of one module.

    Args:
        root: the pass that was read.
        units: of it.
        stages: of these units.

    Raises:
        InversionError: for the first module with weights that is inside of two stages.
    """
    calls = _count(root)
    by_path = {unit.path: unit.module for unit in units}
    owners: dict[int, int] = {}
    for number, stage in enumerate(stages.stages):
        for piece in stage.modules:
            for path, module in by_path[piece].named_modules():
                bare = next(module.parameters(recurse=False), None) is None
                if not bare and owners.setdefault(id(module), number) != number:
                    raise _shared(path, calls[id(module)], True)


def _shared(path: str, count: int, state: bool) -> InversionError:
    what = "weights shared between stages" if state else "its calls"
    return InversionError(
        "shared weights" if state else "shared module",
        f"module '{path}' is called {count} times: {what} cannot be taken apart; "
        "give each call a module of its own.",
    )


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
