"""Hiera, whose tokens are sorted so that those that are pooled together lie at equal distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from arches.inversion.adapters.positions import OwnPositions
from arches.inversion.adapters.registry import Body, Rewriting, register_adapter

Strides = Sequence[Sequence[int]]
"""Poolings that are still to come, as pairs: rows and columns that become one."""


def sort_tokens(x: Tensor, strides: Strides) -> Tensor:
    """Rows of tokens N x L x C of a map N x C x H x W.

    The place inside of the window of the first pooling counts most, then that inside of the second,
    then that of the window itself. H and W must divide by all strides together.
    """
    count, channels, height, width = x.shape
    tokens = x.permute(0, 2, 3, 1).unsqueeze(1)
    for down, right in strides:
        height, width = height // down, width // right
        tokens = tokens.reshape(count, -1, height, down, width, right, channels)
        tokens = tokens.permute(0, 1, 3, 5, 2, 4, 6).flatten(1, 3)
    return tokens.reshape(count, -1, channels)


def unsort_tokens(tokens: Tensor, strides: Strides, size: tuple[int, int]) -> Tensor:
    """The reverse of :func:`sort_tokens`, to a map of height and width ``size``."""
    count, _, channels = tokens.shape
    height, width = size
    for down, right in strides:
        height, width = height // down, width // right
    x = tokens.reshape(count, -1, height, width, channels)
    for down, right in reversed(strides):
        x = x.unflatten(1, (-1, down, right)).permute(0, 1, 4, 2, 5, 3, 6)
        height, width = height * down, width * right
        x = x.reshape(count, -1, height, width, channels)
    return x.squeeze(1).permute(0, 3, 1, 2)


class SortedUnit(nn.Module):
    """A block over sorted tokens, as a block over maps.

    Args:
        block: called with N x L x C.
        before: strides by which the tokens that enter are sorted.
        after: those of the tokens that leave; one less where the block pools.
    """

    def __init__(self, block: nn.Module, before: Strides, after: Strides) -> None:
        super().__init__()
        self.block = block
        self.before, self.after = tuple(before), tuple(after)

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to N x D x h x w."""
        height, width = x.shape[2:]
        for down, right in self.before[: len(self.before) - len(self.after)]:
            height, width = height // down, width // right
        tokens = self.block(sort_tokens(x, self.before))
        return unsort_tokens(tokens, self.after, (height, width))


class Rows(nn.Module):
    """A module over rows of tokens in the order of their map."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to the same shape."""
        out: Tensor = self.inner(x.flatten(2).transpose(1, 2)).transpose(1, 2)
        return out.reshape(x.shape)


@register_adapter("Hiera")
def _hiera(model: Any) -> Rewriting | None:
    """Blocks see sorted tokens, of which each pooling takes one sorting away."""
    if model.patch_embed.spatial_dims != 2:
        return None
    names = ("pos_embed", "pos_embed_win", "mask_spatial_shape")
    units: dict[str, nn.Module] = {
        "stem.patches": model.patch_embed.proj,
        "stem.positions": Rows(OwnPositions(model, names)),
    }
    left: Strides = model.unroll.schedule
    for number, block in enumerate(model.blocks):
        # What timm notes for a block are the sortings with which its output is put back.
        before, left = left, model.reroll.schedule[number][0]
        units[f"blocks.{number}"] = SortedUnit(block, before, left)
    return Rewriting(Body(units), finish=lambda x: sort_tokens(x, left))
