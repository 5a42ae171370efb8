"""Attention in one operation where only shapes are followed, as it is where something is computed.

On the meta device PyTorch takes attention apart and makes the whole square of scores, which its
kernels on CPUs and GPUs never hold: memory read off shapes would be that of another program.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_NAME = "scaled_dot_product_attention"
_PYTORCHS = F.scaled_dot_product_attention


@contextmanager
def fused_attention() -> Iterator[None]:
    """`F.scaled_dot_product_attention` of meta tensors is the operation that the CPU has, under the
    conditions under which the CPU takes it; and PyTorch's kernel for a whole layer of a
    transformer, which hides all that it holds, is off, as it is for shapes.

    The function itself is exchanged: a mode would not see the calls of multi-head attention.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    vars(F)[_NAME] = _attention
    try:
        yield
    finally:
        vars(F)[_NAME] = _PYTORCHS
        torch.backends.mha.set_fastpath_enabled(fast)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **more: Any,
) -> Tensor:
    tensors = (query, key, value)
    fits = (
        query.is_meta
        and dropout_p == 0
        and not more.get("enable_gqa")
        and not (is_causal and attn_mask is not None)
        and not (attn_mask is not None and attn_mask.requires_grad)
        and all(t.dim() == 4 and t.stride(-1) == 1 and t.numel() for t in tensors)
        and all(t.shape[:2] == query.shape[:2] for t in tensors)
        and query.shape[-1] == key.shape[-1] == value.shape[-1]
    )
    if not fits:
        plain: Tensor = _PYTORCHS(query, key, value, attn_mask, dropout_p, is_causal, **more)
        return plain
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = attn_mask.to(query.dtype)
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    output: Tensor = fused(
        query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=more.get("scale")
    )[0]
    return output
