"""What a model does to the image before it reads it, such as subtracting a mean."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from arches.inversion.graph import undisturbed
from arches.inversion.kinds import mixes
from arches.inversion.stages import Stages
from arches.layers.blocks import Unit

_CHANGED = (
    "bu changes the image before its first layer, which is lost: put that into a module of its own"
)


class Front(Unit):
    """Modules that give an image for an image, one after the other.

    Args:
        modules: to run.
        in_chans: channels of the image.
    """

    def __init__(self, modules: Sequence[nn.Module], in_chans: int) -> None:
        super().__init__("front", ", ".join(map(_name, modules)), in_chans, in_chans)
        self.parts = nn.ModuleList(modules)

    def forward(self, x: Tensor) -> Tensor:
        """Map images N x in_chans x H x W to the same shape."""
        for part in self.parts:
            x = part(x)
        return x


def read_front(model: nn.Module, stages: Stages, in_chans: int) -> tuple[Front | None, str]:
    """What a model does to the image itself.

    Args:
        model: not changed.
        stages: of it.
        in_chans: channels of the image.

    Returns:
        Copies of the leading modules of the stem that give an image without weights that mix
        channels or pixels, if they change it; and what they leave out, empty for nothing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images = torch.rand(2, in_chans, stages.probe_size, stages.probe_size)
    found: list[nn.Module] = []
    for path in stages.stem:
        part = copy.deepcopy(model.get_submodule(path))
        if mixes(part) or not _gives_images(part, images):
            break
        if any(_changes(part, images, mode) for mode in (False, True)):
            found.append(part)
    front = Front(found, in_chans) if found else None
    read = images if front is None else _run(front, images, mode=False)
    entered = _first_taken(model, images)
    if entered is None or read is None or entered.shape != read.shape:
        return front, ""
    same = torch.allclose(entered, read, rtol=1e-4, atol=1e-5)
    return front, "" if same else _CHANGED


def _name(module: nn.Module) -> str:
    """The class of a module, or the functions of a piece of a graph."""
    if not isinstance(module, fx.GraphModule):
        return type(module).__name__
    calls = [node for node in module.graph.nodes if node.op.startswith("call_")]
    return ", ".join(str(getattr(node.target, "__name__", node.target)) for node in calls)


def _gives_images(part: nn.Module, images: Tensor) -> bool:
    """Whether it gives an image of the same size, of whatever size."""
    return all(
        (out := _run(part, x, mode=False)) is not None and out.shape == x.shape
        for x in (images, images[..., ::2, ::2])
    )


def _changes(part: nn.Module, images: Tensor, mode: bool) -> bool:
    out = _run(part, images, mode)
    return out is None or not torch.equal(out, images)


def _run(part: nn.Module, images: Tensor, mode: bool) -> Tensor | None:
    """What a copy gives; none where it fails, or gives something else than a tensor."""
    with torch.random.fork_rng(devices=[]), torch.no_grad(), contextlib.suppress(Exception):
        torch.manual_seed(0)
        out = copy.deepcopy(part).train(mode)(images)
        return out if isinstance(out, Tensor) else None
    return None


class _EndedError(Exception):
    """Ends a pass at the first layer."""


def _first_taken(model: nn.Module, images: Tensor) -> Tensor | None:
    """What enters the first layer that mixes channels or pixels."""
    found: list[Tensor] = []

    def begin(_module: nn.Module, args: Any) -> None:
        found.extend(value for value in args if isinstance(value, Tensor))
        raise _EndedError

    handles = [
        module.register_forward_pre_hook(begin)
        for module in model.modules()
        if mixes(module, recurse=False) and module is not model  # its own weights come later
    ]
    try:
        with undisturbed(model), torch.no_grad(), contextlib.suppress(Exception):
            model.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
