"""Ways to run a network that efficiency is measured in: precision, memory layout, compilation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import StrictBool

from bench.suite.recipe import Strict

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Mode(Strict):
    """How a network is run; the default is float32, contiguous, not compiled.

    `precision` other than fp32 is autocast, as in a recipe, and fp32 what PyTorch makes of it (on
    CUDA, cuDNN's convolutions may use TF32); `channels_last` is the layout of images and weights;
    `compile` is `torch.compile` with its defaults.
    """

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: StrictBool = False
    compile: StrictBool = False

    @property
    def label(self) -> str:
        """`bf16+channels_last`, or empty for the default."""
        parts = [
            self.precision if self.precision != "fp32" else "",
            "channels_last" if self.channels_last else "",
            "compile" if self.compile else "",
        ]
        return "+".join(part for part in parts if part)


def laid_out(network: nn.Module, mode: Mode) -> nn.Module:
    """The network itself with weights in the mode's layout; a training may have left another."""
    import torch

    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            if tensor.dim() == 4:  # volumes and others have no such layout
                tensor.data = tensor.data.to(memory_format=_layout(mode))
    return network


def as_batch(images: Tensor, mode: Mode) -> Tensor:
    """Images in the mode's layout."""
    return images.contiguous(memory_format=_layout(mode))


def runner(
    network: nn.Module, mode: Mode, device: torch.device, eager: bool = False
) -> Callable[[Tensor], Tensor]:
    """A function from images to logits that runs the network as the mode says; `eager` leaves out
    the compilation."""
    import torch

    # Compiled or not, what a network does must not depend on what was compiled before it.
    called: Callable[[Tensor], Tensor] = network
    if mode.compile and not eager:
        torch._dynamo.reset()
        called = torch.compile(network)
    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}

    def run(images: Tensor) -> Tensor:
        dtype = dtypes.get(mode.precision)
        if dtype is None:  # the meta device has not even an autocast that is off
            return called(images)
        with torch.autocast(device.type, dtype=dtype):
            return called(images)

    return run


def _layout(mode: Mode) -> torch.memory_format:
    import torch

    return torch.channels_last if mode.channels_last else torch.contiguous_format
