"""What modules return, brought into the shape of a map: N x C x h x w."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

# What a transformer block reads first, by the names that timm and torchvision give it.
_FIRST_NORMS = ("norm1", "ln_1", "norm")


@dataclass(frozen=True, slots=True)
class Layer:
    """A module whose output is a map to explain.

    Attributes:
        name: of the map: its feature name, or the path of the module in the backbone.
        module: which gives it.
        layout: order of its axes, ``nchw`` or ``nhwc``; empty where the shape has to tell.
    """

    name: str
    module: nn.Module
    layout: str = ""


@dataclass(frozen=True, slots=True)
class TokenGrid:
    """Where the tokens of an isotropic model lie: `prefix` tokens (class, registers) that stand for
    no place, then height x width patches, row by row."""

    prefix: int
    height: int
    width: int


def token_grid(model: nn.Module, image_size: tuple[int, int]) -> TokenGrid | None:
    """The patch grid of an isotropic model for images of H x W, by the attributes that timm (patch
    embedding, `num_prefix_tokens`) and torchvision's vit give it; none where they do not say."""
    for embedding in (getattr(model, "patch_embed", None), getattr(model, "stem", None)):
        known = getattr(embedding, "grid_size", None)
        # A model for images of any size has another grid for each.
        if known and getattr(model, "dynamic_img_size", False):
            known = cast(Any, embedding).dynamic_feat_size(image_size)
        if isinstance(known, Sequence) and len(known) == 2:
            return TokenGrid(int(getattr(model, "num_prefix_tokens", 0)), *map(int, known))
    if isinstance(getattr(model, "class_token", None), Tensor) and hasattr(model, "encoder"):
        side, patch = getattr(model, "image_size", None), getattr(model, "patch_size", None)
        if isinstance(side, int) and isinstance(patch, int):
            return TokenGrid(1, side // patch, side // patch)
    return None


def token_modules(model: nn.Module) -> dict[str, nn.Module]:
    """By path the modules of an isotropic model whose outputs are tokens of the patches, in order
    of depth: the first norm of each block, or the block where it has none.

    The usual choice for transformers: of what the last block gives, a head that reads the class
    token alone never sees the patches.
    """
    for path in ("blocks", "encoder.layers"):
        try:
            blocks = model.get_submodule(path)
        except AttributeError:
            continue
        found: dict[str, nn.Module] = {}
        for name, block in blocks.named_children():
            norm = next((n for n in _FIRST_NORMS if hasattr(block, n)), None)
            inside = f"{path}.{name}" if norm is None else f"{path}.{name}.{norm}"
            found[inside] = model.get_submodule(inside)
        return found
    return {}


@dataclass(frozen=True, slots=True)
class Frame:
    """What the maps of a batch are compared with.

    Attributes:
        size: H and W of the images.
        grid: of the tokens of an isotropic model, where it is known.
    """

    size: tuple[int, int]
    grid: TokenGrid | None = None

    def is_nhwc(self, shape: Sequence[int], layout: str) -> bool:
        """Whether the channels of a tensor of four axes come last; without a layout, whether axes 1
        and 2 fit the shape of the image better than 2 and 3."""
        if layout:
            return layout == "nhwc"
        height, width = self.size

        def misfit(h: int, w: int) -> int:
            return abs(h * width - w * height)

        return misfit(shape[1], shape[2]) < misfit(shape[2], shape[3])

    def sides(self, shape: Sequence[int], layout: str) -> tuple[int, int] | None:
        """Height and width of the map that a tensor is, or none if it is not a map."""
        if len(shape) == 4:
            nhwc = self.is_nhwc(shape, layout)
            return (shape[1], shape[2]) if nhwc else (shape[2], shape[3])
        if len(shape) == 3 and self.grid is not None:
            height, width = self.grid.height, self.grid.width
            # Some models add the class token only in their last blocks.
            if shape[1] - height * width in (0, self.grid.prefix):
                return height, width
        return None

    def common_sides(self, shapes: Iterable[Sequence[int]], layout: str) -> tuple[int, int] | None:
        """Height and width that all tensors have which a module returned, or none: only those of
        the same sides are one map."""
        sides = {self.sides(shape, layout) for shape in shapes}
        return sides.pop() if len(sides) == 1 else None

    def as_map(self, parts: Sequence[Tensor], layout: str) -> Tensor:
        """Tensors of the same sides as one map N x C x h x w, their channels one after the other.

        Raises:
            ValueError: `sides` does not know them.
        """
        maps = [self._as_map(part, layout) for part in parts]
        return maps[0] if len(maps) == 1 else torch.cat(maps, dim=1)

    def _as_map(self, x: Tensor, layout: str) -> Tensor:
        sides = self.sides(x.shape, layout)
        if sides is None:
            raise ValueError(f"{tuple(x.shape)} is not a map.")
        if x.dim() == 4:
            return x.permute(0, 3, 1, 2) if self.is_nhwc(x.shape, layout) else x
        patches = x[:, -sides[0] * sides[1] :]
        return patches.transpose(1, 2).reshape(len(x), -1, *sides)


def tensors(output: object) -> list[Tensor]:
    """The tensors of real numbers in what a module returns: itself, or those in its lists, tuples
    and dictionaries."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    members: Iterable[object] = ()
    if isinstance(output, dict):
        members = output.values()
    elif isinstance(output, list | tuple):
        members = output
    return [tensor for member in members for tensor in tensors(member)]
