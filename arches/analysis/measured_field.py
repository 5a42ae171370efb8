"""Receptive fields found out by gradients, for networks without kernels and strides to reckon with.

A pixel is in the field of a unit where the gradient of the unit with respect to it is not zero. The
gradient is taken with respect to the image at each scale by itself, so that paths from several
scales come apart, as they do in Equation (1) of the paper.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from arches.choices import require_count
from arches.surface import Part, ScaledNetwork

# Images from which moving statistics are taken: few make a variance near zero.
_SETTLING = 16

# Keeps the gradients of deep networks away from underflow; they are compared with zero alone.
_SCALE = 1e15


@dataclass(frozen=True, slots=True)
class MeasuredField:
    """Receptive field of the unit in the centre of a map.

    Attributes:
        smallest: side in pixels of the smallest box around the pixels of one scale.
        largest: side of the largest.
        cut: whether the border of the image cuts the largest, so that it is at least this.
    """

    smallest: int
    largest: int
    cut: bool


def measured_fields(
    network: ScaledNetwork, image_size: int | None = None, samples: int = 4, seed: int = 0
) -> dict[str, MeasuredField]:
    """Measure the receptive field at the end of each row of a description.

    Args:
        network: any network of this package. A copy is measured: moving statistics are those of
            noise, and weights that are all zero, as residual branches may start, are not zero.
        image_size: side of the images; what the network was made for where ``None``.
        samples: images whose fields are joined, for a ReLU blocks what is negative.
        seed: of the images.

    Returns:
        A field for each row of the network that ends in a map and has a gradient that is finite.
        It is never larger than the true one, and in a narrow network sometimes smaller.

    Raises:
        ValueError: for a number below 1, or an image too small for the network.
    """
    side = network.image_size if image_size is None else image_size
    require_count("image_size", side)
    require_count("samples", samples)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        twin = copy.deepcopy(network).float().cpu()
        _prepare(twin, side)
        images = [
            torch.randn(samples, twin.in_chans, side, side).requires_grad_() for _ in twin.scales
        ]
        found = {}
        for name, feature in _maps(twin, images).items():
            field = _field(feature, images)
            if field is not None:
                found[name] = field
    return found


def _prepare(network: ScaledNetwork, side: int) -> None:
    """Let every path have a gradient that is neither zero nor infinite; ends in eval mode."""
    for name, weight in network.named_parameters():
        weight.requires_grad_(False)
        if not name.endswith("bias") and not weight.any():
            weight.fill_(0.5)
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if norms:
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            network.train()(torch.randn(_SETTLING, network.in_chans, side, side))
    network.eval()


def _maps(network: ScaledNetwork, images: list[Tensor]) -> dict[str, Tensor]:
    """The map N x C x h x w that leaves each row, in a pass of these images, one a scale."""
    given: dict[int, Any] = {}

    def keep(module: nn.Module, _inputs: Any, output: Any) -> None:
        # Copied before anything can overwrite it; a module that runs again comes last.
        given.pop(id(module), None)
        given[id(module)] = [
            leaf.clone() for leaf in tree_leaves(output) if isinstance(leaf, Tensor)
        ]

    rows = [row for row in network.rows() if row.layout]
    handles = [m.register_forward_hook(keep) for row in rows for m in row.modules]
    try:
        network.check(images[0])
        network.run(images)
    finally:
        for handle in handles:
            handle.remove()
    order = {key: place for place, key in enumerate(given)}
    found = {}
    for row in rows:
        ran = [id(module) for module in row.modules if id(module) in order]
        feature = _map(given[max(ran, key=order.__getitem__)], row) if ran else None
        if feature is not None:
            found[row.name] = feature
    return found


def _map(tensors: list[Tensor], row: Part) -> Tensor | None:
    if not tensors or any(tensor.dim() != 4 for tensor in tensors):
        return None
    if row.layout == "nhwc":
        tensors = [tensor.permute(0, 3, 1, 2) for tensor in tensors]
    return torch.cat(tensors, dim=1) if len(tensors) > 1 else tensors[0]


def _field(feature: Tensor, images: list[Tensor]) -> MeasuredField | None:
    """The field of the centre unit, a random sum of channels: a plain one is constant after a norm
    over channels."""
    centre = feature[:, :, feature.shape[2] // 2, feature.shape[3] // 2]
    value = (centre * torch.randn(feature.shape[1])).sum() * _SCALE
    if not value.requires_grad:
        return None
    gradients = torch.autograd.grad(value, images, retain_graph=True, allow_unused=True)
    boxes = []
    for gradient in gradients:
        if gradient is None:
            continue
        if not torch.isfinite(gradient).all():
            return None
        reached = gradient.abs().amax((0, 1)).nonzero()
        if len(reached):
            low, high = reached.amin(0), reached.amax(0)
            cut = bool((low == 0).any() or (high == gradient.shape[-1] - 1).any())
            boxes.append((int((high - low).max()) + 1, cut))
    if not boxes:
        return None
    return MeasuredField(min(boxes)[0], max(boxes)[0], max(boxes)[1])
