"""Families whose blocks hand on more than the map: lists of maps, states for the head."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from arches.inversion.adapters.registry import Body, Rewriting, register_adapter


class ListGroup(nn.Module):
    """Blocks that hand a list on, of which only the first map leaves the last of them."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor | list[Tensor]) -> Tensor:
        """Map N x C x H x W, or a list that starts with it, to N x D x h x w."""
        state = [x] if isinstance(x, Tensor) else x
        for block in self.blocks:
            state = block(state)
        return state[0]


@register_adapter("SelecSls")
def _selecsls(model: nn.Module) -> None:
    """Blocks keep the map of the first of their group at hand; a group takes and gives one map."""
    groups: list[list[nn.Module]] = []
    for block in cast(nn.Sequential, model.features):
        if block.is_first:
            groups.append([])
        groups[-1].append(block)
    model.features = nn.Sequential(*map(ListGroup, groups))
    model.from_seq = nn.Identity()


class MapOnly(nn.Module):
    """A block that gives a map and something for the head, without the latter."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to the same shape."""
        out: Tensor = self.block(x)[0]
        return out


@register_adapter("EfficientViM")
def _efficientvim(model: Any) -> Rewriting:
    """The head also reads a state of each stage; the next stage only reads the map."""
    units: dict[str, nn.Module] = {"patch_embed": model.patch_embed}
    for number, stage in enumerate(model.stages):
        for place, block in enumerate(stage.blocks):
            units[f"stages.{number}.blocks.{place}"] = MapOnly(block)
        if stage.downsample is not None:
            units[f"stages.{number}.downsample"] = stage.downsample
    units["norm"] = model.norm[-1]
    return Rewriting(
        Body(units),
        finish=lambda x: x.flatten(2),
        own=lambda features: cast(Tensor, features[-1]),
    )
