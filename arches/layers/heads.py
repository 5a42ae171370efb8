"""What turns the last feature map into logits."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from arches.layers.blocks import ConvNormReLU, NormReLU, Unit
from arches.plan import DensePlan, ScorePlan


def global_average(x: Tensor) -> Tensor:
    """Mean over the image: N x C x H x W to N x C, in at least single precision.

    Scores that differ in the third digit are the same number in bfloat16, and the logits of the
    paper's plain networks are such means.
    """
    kind = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    if x.is_contiguous(memory_format=torch.channels_last):
        # The same mean, written so that the gradient comes back in the layout of the map.
        return x.permute(0, 2, 3, 1).flatten(1, 2).mean(1, dtype=kind)
    return x.mean(dim=(2, 3), dtype=kind)


class ScoreHead(Unit):
    """A map of class scores (convolution, BN, ReLU), averaged over the image.

    The scores pass a ReLU, so logits are never negative; the paper's networks are so.
    """

    def __init__(self, plan: ScorePlan) -> None:
        operation = f"conv {plan.score.kernel}x{plan.score.kernel}, BN, ReLU, mean"
        super().__init__("head", operation, plan.score.in_width, plan.score.width)
        self.score = ConvNormReLU(plan.score)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to logits N x num_classes."""
        scores: Tensor = self.score(x)
        return global_average(scores)

    def leaves(self) -> Iterator[tuple[str, str]]:
        """The score convolution is a unit of its own and names its parts itself."""
        return iter(())


class DenseHead(Unit):
    """BN, ReLU, average over the image, dense layer."""

    def __init__(self, plan: DensePlan) -> None:
        super().__init__("head", "BN, ReLU, mean, dense", plan.in_width, plan.num_classes)
        self.bn = NormReLU(plan.in_width, plan.norm)
        self.dense = nn.Linear(plan.in_width, plan.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to logits N x num_classes."""
        logits: Tensor = self.dense(global_average(self.bn(x)))
        return logits

    def leaves(self) -> Iterator[tuple[str, str]]:
        """Exchange names of the head's two parts."""
        yield "bn", "final.bn"
        yield "dense", "dense"


def build_head(plan: ScorePlan | DensePlan) -> ScoreHead | DenseHead:
    """The module of a planned head."""
    return ScoreHead(plan) if isinstance(plan, ScorePlan) else DenseHead(plan)
