"""What a module does to a map, told by what it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

_ADAPTIVE = (
    functional.adaptive_avg_pool2d,
    functional.adaptive_max_pool2d,
    torch._C._nn.adaptive_avg_pool2d,
)
_ADAPTIVE_MODULES = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def mixes(module: nn.Module, recurse: bool = True) -> bool:
    """Whether a module has weights of more than one axis; a mean of shape 1 x C x 1 x 1 has one."""
    values = module.parameters(recurse)
    return any(sum(side > 1 for side in value.shape) > 1 for value in values)


def pooled_to(module: nn.Module) -> int:
    """Side in pixels of the map that an adaptive pool gives, as a module or as a piece of a graph
    that is nothing else; 0 for any other module, and for a pool of the whole image."""
    size: Any = None
    if isinstance(module, fx.GraphModule):
        calls = [node for node in module.graph.nodes if node.op.startswith("call_")]
        if len(calls) == 1 and calls[0].target in _ADAPTIVE:
            size = calls[0].kwargs.get("output_size", (*calls[0].args, None, None)[1])
    elif isinstance(module, _ADAPTIVE_MODULES):
        size = module.output_size
    side = max(size) if isinstance(size, tuple | list) and None not in size else size
    return side if isinstance(side, int) and side > 1 else 0
