"""How fast one GPU is with a network: timed where there is one, else counted.

Without a GPU nothing can be timed. What is counted instead is the arithmetic, at a speed that small
convolutions reach on a data-centre GPU, and the operations, each of which takes a while to launch,
however small it is: good for the order of magnitude, and said to be no more.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from arches.analysis.estimate import estimate
from bench.data.dataset import DatasetInfo

FLOPS_PER_SECOND = 10e12
SECONDS_PER_OPERATION = 10e-6
# Attacks predict up to 256 images at once, of which fewer are left with every step.
_ATTACKED_AT_ONCE = 64
_BACKWARD = 3  # a training step has the work of three predictions


class Counted(NamedTuple):
    """Seconds per image of training, in batches of the recipe's size, and of prediction."""

    train: float
    predict: float


def name() -> str:
    """The GPU that is here; empty if there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def counted(network: nn.Module, info: DatasetInfo, batch_size: int) -> Counted:
    """What a GPU that is not here would take.

    Args:
        network: left as it is.
        info: of the data set: channels and side of its images, and how many to train on.
        batch_size: of the training; no batch is larger than the set.
    """
    work = estimate(network, info.image_size, info.channels).flops / FLOPS_PER_SECOND
    parts = sum(1 for module in network.modules() if not any(module.children()))
    launches = parts * SECONDS_PER_OPERATION
    return Counted(
        _BACKWARD * (work + launches / min(batch_size, info.train_samples)),
        work + launches / _ATTACKED_AT_ONCE,
    )
