"""What is checked of every inverted network before anybody gets it."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from arches.analysis.unused import named
from arches.inversion.errors import InversionError, first_line
from arches.inversion.network import InvertedNetwork

_PADDING = nn.ReflectionPad2d.__module__
_PAD_INSIDE = (
    "; give the convolutions their padding (padding=, padding_mode=), not layers before them"
)


def verify(network: InvertedNetwork, image_size: int) -> None:
    """Run a network forward and backward on two images of noise.

    Weights, moving statistics, gradients, mode and random state are left as they were.

    Args:
        network: on the CPU.
        image_size: side of the images in pixels.

    Raises:
        InversionError: when maps do not go strictly from coarse to fine, each at its resolution,
            or a value or the gradient of a parameter is missing or not finite.
    """
    sides: list[int] = []
    handles = [
        position.register_forward_hook(lambda _m, _i, out: sides.append(int(out.shape[-1])))
        for position in network.positions
    ]
    kept = {name: value.clone() for name, value in network.named_buffers()}
    training = network.training
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            images = torch.randn(2, network.in_chans, image_size, image_size)
            logits = _forward(network.train(), images)
            (logits * torch.randn_like(logits)).sum().backward()
        _check_sides(network, sides, image_size)
        _check_gradients(network)
    finally:
        for handle in handles:
            handle.remove()
        network.zero_grad(set_to_none=True)
        _cut_off(network)
        network.train(training)
        with torch.no_grad():
            for name, value in network.named_buffers():
                value.copy_(kept[name])


def _cut_off(network: nn.Module) -> None:
    """Tensors that modules made in the pass and remember, such as weights by spectral_norm, keep
    the graph of that pass, and nothing that has one can be copied."""
    for module in network.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor) and value.grad_fn is not None:
                setattr(module, name, value.detach())


def _forward(network: InvertedNetwork, images: Tensor) -> Tensor:
    try:
        logits = network(images)
    except Exception as error:  # the model's own modules may raise anything
        raise InversionError(
            "forward", f"the inverted network does not run: {first_line(error)}"
        ) from error
    if not torch.isfinite(logits).all():
        raise InversionError("forward", "the inverted network gives logits that are not finite.")
    return torch.as_tensor(logits)


def _check_sides(network: InvertedNetwork, sides: list[int], image_size: int) -> None:
    wanted = [math.ceil(image_size / position.factor) for position in network.positions]
    rising = all(a < b for a, b in pairwise(sides))
    if rising and all(s <= w for s, w in zip(sides, wanted, strict=True)):
        return
    if len(set(wanted)) < len(wanted):
        raise InversionError(
            "image too small",
            f"images of {image_size} pixels have no {len(wanted)} different resolutions: {wanted}.",
        )
    # A stage that ends with the layer that pads for the next one leaves too large a map.
    pads = any(type(layer).__module__ == _PADDING for layer in network.modules())
    hint = _PAD_INSIDE if rising and pads else ""
    raise InversionError(
        "resolutions", f"maps have sides {sides}, where the rule asks for {wanted}{hint}."
    )


def _is_finite(values: Tensor) -> bool:
    """One pass over the values where all is well: a sum with NaN or infinity in it is neither."""
    return bool(values.sum().isfinite()) or bool(torch.isfinite(values).all())


def _check_gradients(network: nn.Module) -> None:
    asked = {name: p.grad for name, p in network.named_parameters() if p.requires_grad}
    unused = [name for name, gradient in asked.items() if gradient is None]
    broken = [n for n, grad in asked.items() if grad is not None and not _is_finite(grad)]
    found = []
    if unused:
        found.append(
            f"not used in the forward pass, or cut off from its gradient: {named(unused)}; take "
            "out what is not needed, or freeze it (requires_grad_(False))"
        )
    if broken:
        found.append(f"without a finite gradient: {named(broken)}")
    if found:
        raise InversionError("gradients", f"{'; '.join(found)}.")
