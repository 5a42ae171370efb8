"""What really enters and leaves the modules of the stages, and whether the chain reproduces it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from arches.inversion.errors import InversionError, first_line
from arches.inversion.stages import Stages
from arches.inversion.units import Map, read_map

# Largest difference between a feature map of the model and the same from the chain, relative to
# the largest value where that exceeds 1.
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Seen:
    """A module of a stage in a pass of the whole model.

    Attributes:
        module: itself.
        taken: the map that entered.
        given: the map that left.
    """

    module: nn.Module
    taken: Map
    given: Map

    @property
    def factor(self) -> int:
        """By how much it divides the side of its map, as a whole number from 1."""
        ratio = self.taken.size / self.given.size
        return round(ratio) if ratio > 4 / 3 else 1


def observe(model: nn.Module, stages: Stages, in_chans: int) -> list[list[Seen]]:
    """Run the model on an image and check that the stages are a chain that gives its features.

    Args:
        model: not changed.
        stages: of it.
        in_chans: channels of the image.

    Returns:
        For each stage its modules with the maps that they take and give.

    Raises:
        InversionError: for a path without module or a module that is not run; where a module takes
            or gives something else than one map or a tuple of maps; where the chain deviates from
            the model's own features by more than ``TOLERANCE``.
    """
    paths = [path for stage in stages.stages for path in stage.modules]
    modules = _modules(model, paths)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        images = torch.randn(2, in_chans, stages.probe_size, stages.probe_size)
        recorded = _record(model, paths, modules, images)
        found, before = [], None
        for stage in stages.stages:
            if not stage.modules:
                continue
            start = recorded[stage.modules[0]][0]
            if before is not None:
                _compare(before, start, f"between stages, before {stage.modules[0]}")
            x: Any = start[0] if len(start) == 1 else tuple(start)
            for path in stage.modules:
                x = _call(model.get_submodule(path), x, path)
                _compare(_tensors(x), recorded[path][1], f"at {path}")
            before = recorded[stage.modules[-1]][1]
    for stage in stages.stages:
        layout = stage.in_layout
        row = []
        for path in stage.modules:
            taken, given = (read_map(tuple(maps), layout) for maps in recorded[path])
            if taken is None or given is None:
                raise InversionError("stages", f"{path} takes or gives something else than a map.")
            layout = given.layout
            row.append(Seen(model.get_submodule(path), taken, given))
        found.append(row)
    return found


def _call(module: nn.Module, x: Any, path: str) -> Any:
    try:
        return module.eval()(x)
    except Exception as error:  # the model's own modules may raise anything
        raise InversionError(
            "state between stages", f"{path} takes something else than one map: {first_line(error)}"
        ) from error


def _modules(model: nn.Module, paths: Sequence[str]) -> list[nn.Module]:
    try:
        return [model.get_submodule(path) for path in paths]
    except AttributeError as error:
        raise InversionError(
            "stages", f"the model has no such module: {first_line(error)}"
        ) from error


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _record(
    model: nn.Module, paths: Sequence[str], modules: Sequence[nn.Module], images: Tensor
) -> dict[str, tuple[list[Tensor], list[Tensor]]]:
    """What entered and left each module, copied before anything can overwrite it."""
    recorded: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
    entered: dict[str, list[Tensor]] = {}

    def attach(path: str, module: nn.Module) -> list[Any]:
        def begin(_module: nn.Module, args: Any, kwargs: Any) -> None:
            entered[path] = [tensor.clone() for tensor in _tensors((args, kwargs))]

        def end(_module: nn.Module, _args: Any, output: Any) -> None:
            recorded[path] = (entered[path], [tensor.clone() for tensor in _tensors(output)])

        return [
            module.register_forward_pre_hook(begin, with_kwargs=True),
            module.register_forward_hook(end),
        ]

    handles = [h for p, m in zip(paths, modules, strict=True) for h in attach(p, m)]
    training = model.training
    try:
        # Stages may be whole although the head cannot take this size.
        with contextlib.suppress(Exception):
            model.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)
    for path in paths:
        if path not in recorded:
            raise InversionError("stages", f"{path} is not run in a forward pass of the model.")
    return recorded


def _compare(chain: list[Tensor], own: list[Tensor], where: str) -> None:
    same = len(chain) == len(own) and all(
        a.shape == b.shape
        and float((a - b).abs().max()) <= TOLERANCE * max(1, float(b.abs().max()))
        for a, b in zip(chain, own, strict=True)
    )
    if not same:
        raise InversionError(
            "not faithful", f"the chain of modules does not give the model's own features {where}."
        )
