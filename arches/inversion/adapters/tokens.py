"""Families whose blocks take rows of tokens: each block between a map and a map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from arches.inversion.adapters.parallel import refusal
from arches.inversion.adapters.positions import Positions
from arches.inversion.adapters.registry import Body, Rewriting, register_adapter


def to_tokens(x: Tensor, classes: int = 0) -> Tensor:
    """Rows of tokens N x L x C of a map N x (1 + classes) C x H x W.

    Class tokens travel as channels that are the same at all pixels, after those of the map; their
    mean over the map brings them back. They come first in the row.
    """
    width = x.shape[1] // (1 + classes)
    tokens = x[:, :width].flatten(2).transpose(1, 2)
    if not classes:
        return tokens
    own = x[:, width:].mean((2, 3)).unflatten(1, (classes, width))
    return torch.cat([own, tokens], dim=1)


def to_map(tokens: Tensor, size: tuple[int, int], classes: int = 0) -> Tensor:
    """The reverse of :func:`to_tokens`; an error where tokens are not as many as pixels."""
    x = tokens[:, classes:].unflatten(1, size).permute(0, 3, 1, 2)
    return with_classes(x, tokens[:, :classes])


def with_classes(x: Tensor, classes: Tensor) -> Tensor:
    """Class tokens N x T x C as channels of a map N x C x H x W, which become (1 + T) C."""
    if not classes.shape[1]:
        return x
    flat = classes.flatten(1)[:, :, None, None]
    return torch.cat([x, flat.expand(-1, -1, *x.shape[2:])], dim=1)


class TokenUnit(nn.Module):
    """A block over rows of tokens, as a block over maps.

    Args:
        block: called with N x L x C.
        factor: by which it divides the side of the map.
        sized: whether it is called with height and width, too.
        classes: number of class tokens, see :func:`to_tokens`.
    """

    def __init__(
        self, block: nn.Module, factor: int = 1, sized: bool = False, classes: int = 0
    ) -> None:
        super().__init__()
        self.block = block
        self.factor = factor
        self.sized = sized
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to N x D x H / factor x W / factor."""
        height, width = x.shape[2:]
        tokens = to_tokens(x, self.classes)
        out = self.block(tokens, (height, width)) if self.sized else self.block(tokens)
        if isinstance(out, tuple):
            out = out[0]
        return to_map(out, (-(-height // self.factor), -(-width // self.factor)), self.classes)


class Patches(nn.Module):
    """A convolution and a norm over channels, as most embeddings of patches, for any size."""

    def __init__(self, proj: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.proj = proj
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to N x D x h x w."""
        out: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return out.permute(0, 3, 1, 2)


class ClassTokens(nn.Module):
    """Adds learned class tokens to a map, see :func:`to_tokens`."""

    def __init__(self, tokens: nn.Parameter) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to N x (1 + T) C x H x W."""
        return with_classes(x, self.tokens.expand(x.shape[0], -1, -1))


@register_adapter("Levit")
def _levit(model: Any) -> Rewriting | None:
    """Convolutions read the image, rows of tokens are all that follows."""
    if model.use_conv:
        return None
    units: dict[str, nn.Module] = {"stem": model.stem}
    for number, stage in enumerate(model.stages):
        if not isinstance(stage.downsample, nn.Identity):
            factor = stage.downsample.attn_downsample.stride
            units[f"stages.{number}.downsample"] = TokenUnit(stage.downsample, factor)
        for place, block in enumerate(stage.blocks):
            units[f"stages.{number}.blocks.{place}"] = TokenUnit(block)
    return Rewriting(Body(units), finish=to_tokens)


@register_adapter("EfficientFormer")
def _efficientformer(model: Any) -> Rewriting:
    """Maps, and rows of tokens in the last blocks."""
    units: dict[str, nn.Module] = {"stem": model.stem}
    for number, stage in enumerate(model.stages):
        units[f"stages.{number}.downsample"] = stage.downsample
        flat = False
        for place, block in enumerate(stage.blocks):
            # A module without weights by which the family marks where tokens begin.
            if type(block).__name__ == "Flat":
                flat = True
            else:
                unit = TokenUnit(block) if flat else block
                units[f"stages.{number}.blocks.{place}"] = unit
    units["norm"] = TokenUnit(model.norm)
    return Rewriting(Body(units), finish=to_tokens)


@register_adapter("Twins")
def _twins(model: Any) -> Rewriting:
    """Rows of tokens inside of stages, maps between them."""
    units: dict[str, nn.Module] = {}
    rows = zip(model.patch_embeds, model.pos_drops, model.blocks, model.pos_block, strict=True)
    for number, (embed, drop, blocks, positions) in enumerate(rows):
        home = f"stages.{number}"
        embedding = nn.Sequential(Patches(embed.proj, embed.norm), drop)
        units[f"{home}.embed" if number else "stem"] = embedding
        for place, block in enumerate(blocks):
            units[f"{home}.{place}"] = TokenUnit(block, sized=True)
            if place == 0:
                units[f"{home}.positions"] = TokenUnit(positions, sized=True)
    units["norm"] = TokenUnit(model.norm)
    return Rewriting(Body(units), finish=to_tokens)


@register_adapter("MultiScaleVit")
def _mvit(model: Any) -> Rewriting | None:
    """Rows of tokens and the size of their map, with a class token in some of the models."""
    if model.pos_embed is not None:
        return None
    classes = 0 if model.cls_token is None else 1
    units: dict[str, nn.Module] = {"stem.patches": model.patch_embed.proj}
    if classes:
        units["stem.classes"] = ClassTokens(model.cls_token)
    before = None
    for number, stage in enumerate(model.stages):
        shrinks = 1 if before is None else round(before / stage.feat_size[0])
        before = stage.feat_size[0]
        for place, block in enumerate(stage.blocks):
            factor = shrinks if place == 0 else 1
            unit = TokenUnit(block, factor, sized=True, classes=classes)
            units[f"stages.{number}.blocks.{place}"] = unit
    units["norm"] = TokenUnit(model.norm, classes=classes)
    return Rewriting(Body(units), finish=lambda x: to_tokens(x, classes))


class PoolWithClasses(nn.Module):
    """A pool that takes and gives a map and class tokens, see :func:`to_tokens`."""

    def __init__(self, pool: nn.Module, classes: int) -> None:
        super().__init__()
        self.pool = pool
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        """Map N x (1 + T) C x H x W to N x (1 + T) D x h x w."""
        width = x.shape[1] // (1 + self.classes)
        own = x[:, width:].mean((2, 3)).unflatten(1, (self.classes, width))
        return with_classes(*self.pool(x[:, :width], own))


@register_adapter("PoolingVisionTransformer")
def _pit(model: Any) -> Rewriting:
    """A map and class tokens go from stage to stage."""
    classes = model.cls_token.shape[1]
    units: dict[str, nn.Module] = {
        "stem.patches": model.patch_embed,
        "stem.positions": Positions(model.pos_embed, model.pos_drop),
        "stem.classes": ClassTokens(model.cls_token),
    }
    for number, stage in enumerate(model.transformers):
        home = f"stages.{number}"
        if stage.pool is not None:
            units[f"{home}.pool"] = PoolWithClasses(stage.pool, classes)
        if not isinstance(stage.norm, nn.Identity):
            units[f"{home}.norm"] = TokenUnit(stage.norm, classes=classes)
        for place, block in enumerate(stage.blocks):
            units[f"{home}.blocks.{place}"] = TokenUnit(block, classes=classes)
    units["norm"] = TokenUnit(model.norm, classes=classes)
    return Rewriting(Body(units), finish=lambda x: to_tokens(x, classes)[:, :classes])


class ClassBlocks(nn.Module):
    """Blocks between which a class token is at hand, which neither enters nor leaves.

    Args:
        token: 1 x 1 x C.
        blocks: called with N x (1 + L) x C and height and width.
    """

    def __init__(self, token: nn.Parameter, blocks: nn.ModuleList) -> None:
        super().__init__()
        self.token = token
        self.blocks = blocks

    def forward(self, x: Tensor) -> Tensor:
        """Map N x C x H x W to the same shape."""
        size = (x.shape[2], x.shape[3])
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), to_tokens(x)], dim=1)
        for block in self.blocks:
            tokens = block(tokens, size)
        return to_map(tokens[:, 1:], size)


@register_adapter("CoaT")
def _coat(model: Any) -> Rewriting:
    """Each stage has a class token of its own; that of the last one is read by the head."""
    if model.parallel_blocks is not None:
        raise refusal("CoaT", "blocks over four resolutions, which exchange maps")
    units: dict[str, nn.Module] = {}
    for number in range(1, 5):
        embed = getattr(model, f"patch_embed{number}")
        token = getattr(model, f"cls_token{number}")
        home = f"stages.{number}"
        units["stem" if number == 1 else f"{home}.embed"] = Patches(embed.proj, embed.norm)
        units[f"{home}.blocks"] = ClassBlocks(token, getattr(model, f"serial_blocks{number}"))
    units["norm"] = TokenUnit(model.norm4)
    return Rewriting(
        Body(units),
        finish=to_tokens,
        own=lambda features: torch.as_tensor(features)[:, 1:],
    )
