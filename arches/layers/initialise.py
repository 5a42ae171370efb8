"""How kernels are drawn before training: the two rules of the paper's networks."""

from __future__ import annotations

import math

from torch import nn

# Standard deviation of a unit normal that is cut at two standard deviations.
_CUT_NORMAL_STD = 0.87962566103423978


def initialise(module: nn.Module, rule: str) -> None:
    """Draw all kernels anew from torch's random state and set biases to zero.

    Args:
        module: whose convolutions and dense layers are drawn.
        rule: ``glorot_uniform``, or ``he_normal`` (cut at two standard deviations and widened so
            that the variance is still 2 / fan-in, as Keras does).
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            if rule == "glorot_uniform":
                nn.init.xavier_uniform_(part.weight)
            else:
                fan_in = part.weight[0].numel()
                std = math.sqrt(2 / fan_in) / _CUT_NORMAL_STD
                nn.init.trunc_normal_(part.weight, std=std, a=-2 * std, b=2 * std)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
