"""Counting what operations compute while they run, on any device."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class OperationCounter(TorchDispatchMode):
    """Adds up multiply-adds of `products`, operations of `others`, and `activations`, as
    :mod:`arches.analysis.operations` says, of all that runs while the mode is on."""

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
        """Run the operation and count it, or those that it comes to."""
        packet = getattr(func, "overloadpacket", None)
        product = _PRODUCTS.get(packet) or _TORCHVISIONS.get(str(packet))
        if product is None and packet not in _OTHERS and isinstance(func, OpOverload):
            # In inference mode layers arrive whole, which PyTorch takes apart before, elsewhere.
            with self:
                result = func.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        result = func(*args, **(kwargs or {}))
        if product is not None:
            macs, activations = product(args, result)
            self.products += macs
            self.activations += activations
        elif packet in _OTHERS:
            self.others += _OTHERS[packet](args, result)
        return result


def _convolution(args: Any, out: Tensor) -> tuple[int, int]:
    image, weight, transposed = args[0], args[1], args[6]
    places = (image if transposed else out).shape[2:]
    return image.shape[0] * prod(weight.shape) * prod(places), out.numel()


def _deformed(args: Any, out: Tensor) -> tuple[int, int]:
    """Of a convolution of pixels that are sampled elsewhere; the sampling is not counted."""
    return out.shape[0] * prod(args[1].shape) * prod(out.shape[2:]), out.numel()


def _product(first: int) -> Callable[[Any, Tensor], tuple[int, int]]:
    """Of matrices: every element that comes out is a sum over the last axis of the first one."""
    return lambda args, out: (out.numel() * args[first].shape[-1], out.numel())


def _attention(args: Any, result: Any) -> tuple[int, int]:
    query, key, value = args[:3]
    scores = prod(query.shape[:-1]) * key.shape[-2]
    mixed = prod(query.shape[:-1]) * value.shape[-1]
    return scores * query.shape[-1] + mixed * key.shape[-2], scores + mixed


def _bilinear(args: Any, out: Tensor) -> tuple[int, int]:
    """Of `nn.Bilinear`: the weights times the first input, and that times the second."""
    outputs, one, other = args[1].shape
    return args[0].shape[0] * outputs * (one + 1) * other, out.numel()


def _summed(args: Any, out: Tensor) -> tuple[int, int]:
    """Of a sum of products of matrices, as many as there are in a batch."""
    return out.numel() * args[1].shape[0] * args[1].shape[2], out.numel()


def _batch_norm(args: Any, result: Any) -> int:
    has_weight, by_the_batch = args[1] is not None, args[5]
    each = (5 if has_weight else 4) if by_the_batch else (2 if has_weight else 1)
    return each * int(args[0].numel())


def _norm(weight: int) -> Callable[[Any, Any], int]:
    return lambda args, result: (4 if args[weight] is None else 5) * args[0].numel()


# The first three are what all kinds of matrix products come to; on the meta device attention comes
# to them too, on the CPU it has an operation of its own.
_Product = Callable[[Any, Any], tuple[int, int]]
_PRODUCTS: dict[Any, _Product] = {
    aten.mm: _product(0),
    aten.bmm: _product(0),
    aten.addmm: _product(1),
    aten.baddbmm: _product(1),
    aten.addbmm: _summed,
    aten.mv: _product(0),
    aten.addmv: _product(1),
    aten.dot: _product(0),
    aten.vdot: _product(0),
    aten.convolution: _convolution,
    aten._convolution: _convolution,  # as traced modules call it
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._trilinear: _bilinear,
}
# By name, for it need not be imported.
_TORCHVISIONS: dict[str, _Product] = {"torchvision.deform_conv2d": _deformed}
_OTHERS: dict[Any, Callable[[Any, Any], int]] = {
    aten.native_batch_norm: _batch_norm,
    aten.native_layer_norm: _norm(2),
    aten.native_group_norm: _norm(1),
    aten.upsample_nearest2d: lambda args, out: out.numel(),
    aten.upsample_bilinear2d: lambda args, out: 4 * out.numel(),
    aten.grid_sampler_2d: lambda args, out: 4 * out.numel(),
    aten.grid_sampler_3d: lambda args, out: 4 * out.numel(),
    aten._adaptive_avg_pool2d: lambda args, out: args[0].numel(),
}
