"""Dropout of one half, whose masks are drawn 64 values at a time on the CPU."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn


class HalfDropout(nn.Dropout):
    """Zeroes each value with probability 1/2 and doubles the others, as ``nn.Dropout(0.5)`` does.

    PyTorch draws a number for each value on the CPU, which takes a tenth of the time of a training
    step; here each value takes one bit of the same generator. Elsewhere it is PyTorch's own.
    """

    def __init__(self) -> None:
        super().__init__(0.5)

    def forward(self, input: Tensor) -> Tensor:
        """Drop values of a tensor of any shape, in training mode."""
        if not self.training or self.inplace or not _is_drawn_here(input):
            return super().forward(input)
        count = input.numel()
        bits = torch.empty(-(-count // 64), dtype=torch.int64).random_(-(2**63), None)
        scales = _scales(input.dtype).index_select(0, bits.view(torch.uint8).int())
        return input * scales.flatten()[:count].as_strided(input.shape, input.stride())


def _is_drawn_here(x: Tensor) -> bool:
    """Whether the values are those of a plain CPU tensor without gaps: not traced, not fake."""
    plain = type(x) is Tensor and x.device.type == "cpu" and x.is_floating_point()
    if not plain or torch.compiler.is_compiling() or not x.numel():
        return False
    return x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)


@functools.lru_cache
def _scales(dtype: torch.dtype) -> Tensor:
    """For each byte (256) the scale of its eight values: 0 or 2."""
    # A tensor made in inference mode could never take part in a backward pass.
    with torch.inference_mode(False):
        return (2 * ((torch.arange(256)[:, None] >> torch.arange(8)) & 1)).to(dtype)


def build_dropout(share: float) -> nn.Dropout | None:
    """The dropout of a share of the values; none where it is 0."""
    if not share:
        return None
    return HalfDropout() if share == 0.5 else nn.Dropout(share)
