"""Attacks leave no trace: a model, its gradients and the global random state are put back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from bench.seeding import seeded


@contextlib.contextmanager
def untouched(model: nn.Module | None, seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators (torch, numpy, Python) for what runs inside, then put back the
    generators, and of the model: mode of every module, parameters, buffers, `requires_grad`, and
    gradients. Holds also when an exception leaves the block.
    """
    cuda = [device] if device.type == "cuda" else []
    with contextlib.ExitStack() as stack:
        stack.enter_context(seeded(seed, cuda))
        if model is not None:
            stack.enter_context(_restored(model))
        yield


@contextlib.contextmanager
def prepared(model: nn.Module | None) -> Iterator[None]:
    """In eval mode and without gradients of parameters, also where that was left otherwise; put
    back afterwards."""
    modes = [(module, module.training) for module in model.modules()] if model is not None else []
    flags = [(p, p.requires_grad) for p in model.parameters()] if model is not None else []
    if model is not None:
        model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires in flags:
            parameter.requires_grad_(requires)


@contextlib.contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    parameters = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    tensors = [(t, t.detach().clone()) for t in (*model.parameters(), *model.buffers())]
    buffers = [(module, dict(module._buffers)) for module in model.modules()]
    for parameter in model.parameters():
        parameter.grad = None  # a backward pass would add to the tensor that is there
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires, gradient in parameters:
            parameter.requires_grad_(requires)
            parameter.grad = gradient
        for module, held in buffers:  # `model.half()` puts others in their place
            module._buffers.update(held)
        with torch.no_grad():
            for tensor, before in tensors:
                if (tensor.dtype, tensor.device) != (before.dtype, before.device):
                    tensor.data = before
                elif not torch.equal(tensor, before):
                    tensor.copy_(before)
