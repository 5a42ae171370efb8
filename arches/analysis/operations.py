"""Operations of one forward pass: FLOPs, and MACs and activations as timm publishes them.

timm's tables (`results/benchmark-infer-*.csv` of its repository) are made with fvcore, whose
conventions are followed here, so that its figures and ours can stand in one table:

- a multiply-add is one MAC; convolutions, matrix products (of vectors, too) and attention are
  counted, biases not;
- normalisation costs a few operations for each element that goes in (batch normalisation, and
  instance normalisation, by moving statistics 2, without weights 1; all others 5, without weights
  4); nearest up-sampling 1 for each that comes out, bilinear and grid sampling 4; adaptive average
  pooling 1 for each that goes in, but to a single place nothing, for that is a mean;
- element-wise operations, distances, Fourier transforms, other pooling and resampling cost
  nothing;
- activations are the elements that convolutions and matrix products give, attention included.

Only shapes are followed, on the meta device, so the figures are the same on every machine.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arches.analysis.attention import fused_attention
from arches.analysis.cost import READS_VALUES, without_onednn, without_values
from arches.analysis.counter import OperationCounter

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
    with torch.no_grad(), OperationCounter() as counter:
        network(images)
    return Operations(2 * counter.products, counter.products + counter.others, counter.activations)
