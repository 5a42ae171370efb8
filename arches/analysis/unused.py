"""Parameters that a model has and does not use."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from arches.analysis.cost import READS_VALUES, without_values
from arches.inversion.bottom_up import BottomUp

# Multiplications that take less time than PyTorch needs to load what its meta device works with,
# which is its compiler: nearly a second, once in a process.
_FEW = 10**9


def unused_parameters(network: nn.Module, image_size: int, in_chans: int) -> dict[str, int]:
    """Trainable parameters that no output of a pass in training mode depends on.

    It is read off a copy that is run on two images of noise where that is quick, and else off one
    on the meta device, unless that fails, because a model reads values while it runs.

    Args:
        network: left as it is, on any device; nobody's random state is touched either.
        image_size: side of the image in pixels.
        in_chans: channels of the image.

    Returns:
        The number of values of each, by name.

    Raises:
        Exception: whatever the network raises on such images.
    """
    size = (2, in_chans, image_size, image_size)
    # A weight seldom meets more positions than there are pixels.
    most = 2 * image_size**2 * sum(weight.numel() for weight in network.parameters())
    twin, reached = network, None
    with _random_states_kept():
        if most >= _FEW:
            with contextlib.suppress(*READS_VALUES):
                twin = without_values(network)
                reached = _reached(twin, torch.empty(size, device="meta"))
        if reached is None:
            twin = copy.deepcopy(network).cpu()
            reached = _reached(twin, torch.randn(size))
    return {
        name: weight.numel()
        for name, weight in twin.named_parameters()
        if weight.requires_grad and id(weight) not in reached
    }


def unused_in(plain: BottomUp, image_size: int) -> dict[str, int]:
    """The same of a model as it is, by the names that it has for them itself."""
    found = unused_parameters(plain, image_size, plain.in_chans)
    return {name.removeprefix("model."): count for name, count in found.items()}


@contextlib.contextmanager
def _random_states_kept() -> Iterator[None]:
    """A model may drop layers by any generator, and be about to be trained with it."""
    own, numpys = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(own)
        np.random.set_state(numpys)


def _reached(network: nn.Module, images: Tensor) -> set[int]:
    """Identities of the parameters from which a way leads to what the network gives."""
    with torch.enable_grad():
        given = network.train()(images)
    waiting = [leaf.grad_fn for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]
    seen, found = set(waiting), set()
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if (variable := getattr(node, "variable", None)) is not None:
            found.add(id(variable))
        fresh = {before for before, _ in node.next_functions} - seen
        seen |= fresh
        waiting.extend(fresh)
    return found


def named(names: Sequence[str]) -> str:
    """`3 parameters (a, b, c)`, at most three of them by name."""
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names)} parameter{'s'[: len(names) != 1]} ({', '.join(names[:3])}{more})"


def note(unused: dict[str, int]) -> str:
    """What they are, in one sentence without a full stop; none of them may be missing."""
    return (
        f"not used in the forward pass: {named(list(unused))} of together "
        f"{sum(unused.values()):,} values, which bu has and a top-down variant has not"
    )
