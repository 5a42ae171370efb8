"""Reading the stages of a model from one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arches.inversion.discover import cut
from arches.inversion.errors import InversionError, first_line
from arches.inversion.functions import called_after
from arches.inversion.graph import as_graph, require_mode
from arches.inversion.observe import TOLERANCE
from arches.inversion.sharing import require_own, take_apart
from arches.inversion.stages import Stages
from arches.inversion.trace import Call, trace
from arches.inversion.units import Chain, read_chain

PROBE = 224


def read_stages(
    model: nn.Module,
    in_chans: int,
    native_size: int | None = None,
    image_size: int = 64,
    probe_size: int | None = None,
) -> Stages:
    """The stages of a model, from one forward pass.

    Args:
        model: a classifier of images; its mode is left as it was. What has no weights and is
            called more than once is taken apart in it, see :func:`take_apart`.
        in_chans: channels of the image.
        native_size: side in pixels of the images it was made for, where known.
        image_size: side in pixels of the images it is wanted for.
        probe_size: side in pixels of the image that is tried first, where another is better than
            the one that it was made for, or 224 pixels if that is less.

    Returns:
        The stages, fine to coarse.

    Raises:
        InversionError: with the reason, where there is nothing to invert or the stages cannot be
            told apart.
    """
    # A large image tells strides from pools: at 1 x 1 pixel they look alike.
    native = native_size or PROBE
    problems: list[Exception] = []
    usual = min(native, PROBE)
    for side in dict.fromkeys((probe_size or usual, usual, native, image_size)):
        with torch.random.fork_rng(devices=[]):
            images = torch.randn(1, in_chans, side, side)
        root, problem = trace(model, images)
        if problem is None:
            if side != image_size and _fixes_a_size(read_chain(root)):
                continue
            try:
                return _cut(model, root, images)
            except InversionError as refusal:
                if refusal.reason == "shared weights":
                    # In the graph, one module that a stage calls again and again is many pieces.
                    return _read_graph(model, images, refusal, image_size)
                if refusal.reason != "state between stages":
                    raise
                explained = _explained(model, root, images, refusal)
                return _read_graph(model, images, explained, image_size)
        problems.append(problem)
    error = problems[0]
    raise InversionError(
        "forward", f"the model itself fails on an image: {first_line(error)}"
    ) from error


def _cut(model: nn.Module, root: Call, images: Tensor) -> Stages:
    """The stages of the model's own modules."""
    chain = read_chain(root)
    undo = take_apart(model, root, chain.units)
    if undo is not None:
        again, problem = trace(model, images)
        if problem is None and _agree(root, again):
            root, chain = again, read_chain(again)
        else:  # the model asks of which class its modules are
            undo()
    found = cut(chain, int(images.shape[-1]))
    require_own(root, chain.units, found, graph=False)
    return found


def _agree(one: Call, other: Call) -> bool:
    return len(one.outputs) == len(other.outputs) and all(
        a.shape == b.shape and torch.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        for a, b in zip(one.outputs, other.outputs, strict=True)
    )


def _explained(
    model: nn.Module, root: Call, images: Tensor, refusal: InversionError
) -> InversionError:
    """The refusal, with what to do against it where a function is in the way."""
    units = read_chain(root).units
    advice = called_after(model, units[-1].path, images) if units else None
    if advice is None:
        return refusal
    return InversionError(
        refusal.reason,
        f"the stages cannot be read: {advice}, or list the stages by hand, by stages=...",
    )


def _fixes_a_size(chain: Chain) -> bool:
    """Whether a resolution is that of no other image: it takes an image of the wanted size."""
    return any(unit.fixed for unit in chain.units)


def _read_graph(
    model: nn.Module, images: Tensor, refusal: InversionError, image_size: int
) -> Stages:
    """The stages of the model's graph, where its modules do not tell them."""
    try:
        graph = as_graph(model)
        root, problem = trace(graph, images)
        if problem is not None:
            raise refusal
        chain = read_chain(root)
        if _fixes_a_size(chain) and images.shape[-1] != image_size:
            with torch.random.fork_rng(devices=[]):
                images = torch.randn(1, images.shape[1], image_size, image_size)
            root, problem = trace(graph, images)
            if problem is not None:
                raise refusal
            chain = read_chain(root)
        found = cut(chain, int(images.shape[-1]), "graph")
    except InversionError as error:
        raise (error if error.reason == "fixed size" else refusal) from None
    require_own(root, chain.units, found, graph=True)
    require_mode(model, graph, torch.cat([images, images.flip(-1)]))
    return found
