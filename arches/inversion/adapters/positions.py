"""Families that add an embedding of positions between modules; it becomes a unit."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from arches.inversion.adapters.registry import Body, Rewriting, register_adapter


class Positions(nn.Module):
    """Adds one learned value for each pixel and channel.

    Args:
        values: 1 x C x H x W.
        drop: what follows.
    """

    def __init__(self, values: nn.Parameter, drop: nn.Module) -> None:
        super().__init__()
        self.values = values
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W, of the size of the values, to the same shape."""
        out: Tensor = self.drop(x + self.values)
        return out


class OwnPositions(nn.Module):
    """Adds positions as a model does itself, by its ``_pos_embed``.

    Args:
        model: not kept.
        names: of all attributes of the model that this uses.
    """

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        for name in names:
            setattr(self, name, getattr(model, name))
        # Of the class, so that it runs on this module instead of on the whole model.
        self.add: Any = vars(type(model))["_pos_embed"]

    def forward(self, x: Tensor) -> Tensor:
        """What the model adds positions to, to the same shape."""
        out: Tensor = self.add(self, x)
        return out


@register_adapter("Visformer")
def _visformer(model: Any) -> Rewriting:
    """Positions are added after each embedding of patches, which otherwise asks for one size."""
    units: dict[str, nn.Module] = {}
    if model.stem is not None:
        units["stem"] = model.stem
    for number in (1, 2, 3):
        embed = getattr(model, f"patch_embed{number}")
        if embed is not None:
            units[f"embed{number}.patches"] = nn.Sequential(embed.proj, embed.norm)
            values = getattr(model, f"pos_embed{number}")
            if values is not None:
                units[f"embed{number}.positions"] = Positions(values, model.pos_drop)
        units |= {
            f"stage{number}.{name}": block
            for name, block in getattr(model, f"stage{number}").named_children()
        }
    units["norm"] = model.norm
    return Rewriting(Body(units))


@register_adapter("HieraDet")
def _sam2_hiera(model: Any) -> Rewriting:
    """Positions are added once, to maps N x H x W x C."""
    units: dict[str, nn.Module] = {
        "stem.patches": model.patch_embed,
        "stem.positions": OwnPositions(model, ("pos_embed", "pos_embed_window")),
    }
    units |= {f"blocks.{name}": block for name, block in model.blocks.named_children()}
    return Rewriting(Body(units))
