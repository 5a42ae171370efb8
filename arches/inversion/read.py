"""Reading the stages of a model from one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from arches.inversion.discover import cut
from arches.inversion.errors import InversionError
from arches.inversion.graph import as_graph
from arches.inversion.stages import Stages
from arches.inversion.trace import trace
from arches.inversion.units import read_chain

PROBE = 224


def read_stages(
    model: nn.Module, in_chans: int, native_size: int | None = None, image_size: int = 64
) -> Stages:
    """The stages of a model, from one forward pass.

    Args:
        model: a classifier of images; its mode is left as it was.
        in_chans: channels of the image.
        native_size: side in pixels of the images it was made for, where known.
        image_size: side in pixels of the images it is wanted for.

    Returns:
        The stages, fine to coarse.

    Raises:
        InversionError: with the reason, where there is nothing to invert or the stages cannot be
            told apart.
    """
    # A large image tells strides from pools: at 1 x 1 pixel they look alike.
    native = native_size or PROBE
    error: Exception | None = None
    for side in dict.fromkeys((min(native, PROBE), native, image_size)):
        with torch.random.fork_rng(devices=[]):
            images = torch.randn(1, in_chans, side, side)
        root, problem = trace(model, images)
        if problem is None:
            try:
                return cut(read_chain(root), side)
            except InversionError as refusal:
                return _read_graph(model, images, refusal)
        error = error or problem
    raise InversionError("forward", f"the model itself fails on an image: {error}") from error


def _read_graph(model: nn.Module, images: Tensor, refusal: InversionError) -> Stages:
    """The stages of the model's graph, where its modules do not tell them."""
    if refusal.reason != "state between stages":
        raise refusal
    try:
        root, problem = trace(as_graph(model), images)
        if problem is not None:
            raise refusal
        return cut(read_chain(root), int(images.shape[-1]), "graph")
    except InversionError:
        raise refusal from None
