"""What a model does in training, where it may compute something else than in evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from arches.inversion.errors import InversionError
from arches.inversion.graph import only_in_training, undisturbed
from arches.inversion.observe import TOLERANCE
from arches.inversion.stages import Stages

_OF_ITS_OWN = "put that into a module of its own"


@dataclass(slots=True)
class Pass:
    """A pass of a model on two images, in training or in evaluation.

    Attributes:
        taken: by path the tensors that entered a module, at its last call.
        given: likewise those that left it.
        state: of the random numbers when the last module was left.
        output: what the model gave.
    """

    taken: dict[str, list[Tensor]] = field(default_factory=dict)
    given: dict[str, list[Tensor]] = field(default_factory=dict)
    state: Tensor | None = None
    output: list[Tensor] = field(default_factory=list)


def watched(model: nn.Module, paths: Sequence[str], images: Tensor, mode: bool) -> Pass | None:
    """A pass; weights, statistics, mode and random state are left as they were.

    Args:
        model: to run.
        paths: of the modules to watch.
        images: N x C x H x W, two or more.
        mode: whether in training.

    Returns:
        None where the model fails.
    """
    found = Pass()

    def watch(path: str) -> list[Any]:
        def begin(_module: nn.Module, args: Any, kwargs: Any) -> None:
            found.taken[path] = _tensors((args, kwargs))

        def end(_module: nn.Module, _args: Any, output: Any) -> None:
            found.given[path] = _tensors(output)
            found.state = torch.get_rng_state()

        module = model.get_submodule(path)
        return [
            module.register_forward_pre_hook(begin, with_kwargs=True),
            module.register_forward_hook(end),
        ]

    handles = [handle for path in paths for handle in watch(path)]
    try:
        with undisturbed(model), torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            found.output = _tensors(model.train(mode)(images))
    except Exception:  # any model may be given, and may raise anything
        return None
    finally:
        for handle in handles:
            handle.remove()
    return found


def require_chain(model: nn.Module, stages: Stages, in_chans: int) -> None:
    """Refuse stages that are a chain in evaluation only.

    Args:
        model: not changed.
        stages: of it.
        in_chans: channels of the image.

    Raises:
        InversionError: for the first place where the two differ.
    """
    paths = [path for stage in stages.stages for path in stage.modules]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images = torch.randn(2, in_chans, stages.probe_size, stages.probe_size)
    trained = watched(model, paths, images, mode=True)
    if trained is None:  # what the model itself cannot do, its inversion need not
        return
    before: str | None = None
    for path in paths:
        if path not in trained.given:
            raise InversionError(
                "not faithful", f"forward does not always run {path} in training: {_OF_ITS_OWN}."
            )
        if before is not None and not _same(trained.given[before], trained.taken[path]):
            raise InversionError(
                "not faithful",
                f"forward does something of its own in training between {before} and {path}"
                f"{_called(model)}: {_OF_ITS_OWN}.",
            )
        before = path


def lost_in_training(model: nn.Module, last: str, head: fx.GraphModule, images: Tensor) -> str:
    """What the end of a model does in training, and its graph, read in evaluation, does not.

    Args:
        model: not changed.
        last: path of the module that gives the last feature map.
        head: maps this map to logits.
        images: N x C x H x W, two or more.

    Returns:
        A sentence without a full stop; empty where they agree, or differ in evaluation, too.
    """
    if _head_agrees(model, last, head, images, mode=True) is not False:
        return ""
    if _head_agrees(model, last, head, images, mode=False) is not True:
        return ""
    return (
        f"bu does something of its own in training behind its last stage{_called(model)}, which "
        f"is lost: {_OF_ITS_OWN}, or leave it out"
    )


def _head_agrees(
    model: nn.Module, last: str, head: fx.GraphModule, images: Tensor, mode: bool
) -> bool | None:
    """Whether a graph gives what its model gives; none where that cannot be told."""
    own = watched(model, [last], images, mode)
    if own is None or len(own.given.get(last, [])) != 1 or own.state is None:
        return None
    try:
        with undisturbed(head), torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.set_rng_state(own.state)
            given = _tensors(head.train(mode)(own.given[last][0]))
    except Exception:  # as above
        return None
    return _same(own.output, given)


def _called(model: nn.Module) -> str:
    name = None
    with contextlib.suppress(Exception):  # tracing runs the model's own code
        name = only_in_training(model)
    return f" (it calls {name} there)" if name else ""


def _tensors(value: Any) -> list[Tensor]:
    return [leaf.clone() for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(
        a.shape == b.shape and torch.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        for a, b in zip(one, other, strict=True)
    )
