"""Operations of one forward pass: FLOPs, and MACs and activations as timm publishes them.

timm's tables (`results/benchmark-infer-*.csv` of its repository) are made with fvcore, whose
conventions are followed here, so that its figures and ours can stand in one table:

- a multiply-add is one MAC; convolutions, matrix products and attention are counted, biases not;
- normalisation costs a few operations for each element that goes in (batch normalisation in
  inference 2, without weights 1; all others and batch normalisation by the batch's own statistics
  5, without weights 4); nearest up-sampling 1 for each that comes out, bilinear and grid sampling
  4; adaptive average pooling 1 for each that goes in;
- element-wise operations, other pooling and resampling cost nothing;
- activations are the elements that convolutions and matrix products give, attention included.

Only shapes are followed, on the meta device, so the figures are the same on every machine.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from arches.analysis.attention import fused_attention
from arches.analysis.cost import (
    READS_VALUES,
    bilinear_macs,
    without_onednn,
    without_values,
)

aten = torch.ops.aten

Shape = Sequence[int]


@dataclass(frozen=True, slots=True)
class Operations:
    """What one forward pass of one image computes.

    Attributes:
        flops: 2 x multiply-adds of convolutions, matrix products and attention alone.
        macs: multiply-adds, with what fvcore (and by it timm) counts of other layers.
        activations: elements (not bytes) that convolutions and matrix products give.
    """

    flops: int
    macs: int
    activations: int


def count_operations(network: nn.Module, shape: Shape) -> Operations:
    """Count what the network does for one image in its present mode (training or inference).

    Args:
        network: left as it is; a copy without values is run, or, where a model reads values while
            it runs, a copy on the CPU.
        shape: of the image, C x H x W.
    """
    # Not what the copies raise is the user's concern, but what the network itself does.
    try:
        return _count(without_values(network), torch.empty(1, *shape, device="meta"))
    except READS_VALUES:
        twin = copy.deepcopy(network).cpu()
        with torch.random.fork_rng(devices=[]), without_onednn(), fused_attention():
            try:
                return _count(twin, torch.rand(1, *shape))
            except ValueError:  # statistics of a batch need two images
                two = _count(twin, torch.rand(2, *shape))
    return Operations(two.flops // 2, two.macs // 2, two.activations // 2)


def _count(network: nn.Module, images: Tensor) -> Operations:
    with torch.no_grad(), _Counter() as counter:
        network(images)
    return Operations(2 * counter.products, counter.products + counter.others, counter.activations)


class _Counter(TorchDispatchMode):
    """Adds up multiply-adds of `products`, operations of `others`, and `activations`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products = self.others = self.activations = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        packet = getattr(func, "overloadpacket", None)
        if packet in _PRODUCTS:
            macs, activations = _PRODUCTS[packet](args, result)
            self.products += macs
            self.activations += activations
        elif packet in _OTHERS:
            self.others += _OTHERS[packet](args, result)
        return result


def _convolution(args: Any, out: Tensor) -> tuple[int, int]:
    image, weight, transposed = args[0], args[1], args[6]
    places = (image if transposed else out).shape[2:]
    return image.shape[0] * prod(weight.shape) * prod(places), out.numel()


def _product(first: int) -> Callable[[Any, Tensor], tuple[int, int]]:
    """Of matrices: every element that comes out is a sum over the last axis of the first one."""
    return lambda args, out: (out.numel() * args[first].shape[-1], out.numel())


def _attention(args: Any, result: Any) -> tuple[int, int]:
    query, key, value = args[:3]
    scores = prod(query.shape[:-1]) * key.shape[-2]
    mixed = prod(query.shape[:-1]) * value.shape[-1]
    return scores * query.shape[-1] + mixed * key.shape[-2], scores + mixed


def _bilinear(args: Any, out: Tensor) -> tuple[int, int]:
    return bilinear_macs(args[0].shape, args[1].shape), out.numel()


def _batch_norm(args: Any, result: Any) -> int:
    has_weight, by_the_batch = args[1] is not None, args[5]
    each = (5 if has_weight else 4) if by_the_batch else (2 if has_weight else 1)
    return each * int(args[0].numel())


def _norm(weight: int) -> Callable[[Any, Any], int]:
    return lambda args, result: (4 if args[weight] is None else 5) * args[0].numel()


# The first three are what all kinds of matrix products come to; on the meta device attention comes
# to them too, on the CPU it has an operation of its own.
_PRODUCTS: dict[Any, Callable[[Any, Any], tuple[int, int]]] = {
    aten.mm: _product(0),
    aten.bmm: _product(0),
    aten.addmm: _product(1),
    aten.baddbmm: _product(1),
    aten.mv: _product(0),
    aten.addmv: _product(1),
    aten.convolution: _convolution,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._trilinear: _bilinear,
}
_OTHERS: dict[Any, Callable[[Any, Any], int]] = {
    aten.native_batch_norm: _batch_norm,
    aten.native_layer_norm: _norm(2),
    aten.native_group_norm: _norm(1),
    aten.upsample_nearest2d: lambda args, out: out.numel(),
    aten.upsample_bilinear2d: lambda args, out: 4 * out.numel(),
    aten.grid_sampler_2d: lambda args, out: 4 * out.numel(),
    aten._adaptive_avg_pool2d: lambda args, out: args[0].numel(),
}
