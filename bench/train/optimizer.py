"""Stochastic gradient descent, and which parameters decay."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn

from bench.models.network import Network
from bench.suite.recipe import Recipe

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class EagerSGD(torch.optim.SGD):
    """The same to the bit, in processes that compile nothing.

    PyTorch wraps these methods for its compiler, and each wrapper imports that at its first call:
    half a second to a second of every process that trains.
    """

    add_param_group = inspect.unwrap(torch.optim.SGD.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.SGD.zero_grad)
    _update = inspect.unwrap(torch.optim.SGD.step)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Follow the gradients that the parameters have."""
        self._update()


def optimizer(
    network: Network, recipe: Recipe, device: torch.device, lr: Tensor | None = None
) -> torch.optim.SGD:
    """SGD as the recipe has it, all parameters in one call where PyTorch has that."""
    floats = all(parameter.is_floating_point() for parameter in network.parameters())
    made = EagerSGD(
        parameter_groups(network, recipe.weight_decay),
        lr=recipe.lr if lr is None else lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        # Three times faster than a loop on the CPU; else PyTorch chooses (foreach on devices).
        fused=True if floats and device.type in ("cpu", "cuda") else None,
    )
    if recipe.momentum:
        _begin_at_rest(made)
    return made


def _begin_at_rest(made: torch.optim.SGD) -> None:
    """Give every parameter a momentum of zero, from which the first step is the same.

    PyTorch would make it in that step and leave it unwritten if fp16 overflows there, as it does
    until the loss is scaled down: whatever was in that memory would then move the weights.
    """
    for group in made.param_groups:
        for parameter in group["params"]:
            made.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def parameter_groups(network: Network, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay on kernels only (tensors of two or more dimensions), never on biases or
    normalisation (of any shape), nor on what the backbone names in `no_weight_decay()`."""
    names = getattr(network.backbone, "no_weight_decay", None)
    exempt = set(names()) if callable(names) else set()
    for path, module in network.backbone.named_modules():
        if isinstance(module, _NORMS):
            exempt |= {name for name, _ in module.named_parameters(path, recurse=False)}
    kernels: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.backbone.named_parameters():
        if parameter.requires_grad:
            kernel = parameter.ndim >= 2 and not name.endswith("bias") and name not in exempt
            (kernels if kernel else others).append(parameter)
    return [
        {"params": kernels, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
