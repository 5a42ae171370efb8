"""A network as it predicts: branches that only training needs are folded into one."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

# Folded sums are taken in another order; anything beyond that is another function.
_TOLERANCE = 1e-2


def deployed(network: nn.Module, image: Tensor) -> nn.Module:
    """A copy in eval mode, folded where its modules (timm's) know how, as timm measures models.

    Args:
        network: left as it is.
        image: 1 x C x H x W on its device; where the folded copy does not give the same logits for
            it, as when an inversion took a module apart, the copy is not folded.
    """
    twin = copy.deepcopy(network).eval()
    if not any(map(_fold, map(type, twin.modules()))):
        return twin
    folded = copy.deepcopy(twin)
    _fold_within(folded)
    return folded.eval() if _agree(twin, folded.eval(), image) else twin


def _fold(kind: type[nn.Module]) -> str | None:
    """The method by which modules of a class of timm fold themselves; other people's methods of
    such names mean other things."""
    if kind.__module__.partition(".")[0] != "timm":
        return None
    known = ("fuse", "reparameterize", "switch_to_deploy")
    return next((name for name in known if callable(getattr(kind, name, None))), None)


def _fold_within(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        method = _fold(type(child))
        # `fuse` returns another module, the others change this one.
        result = getattr(child, method)() if method else None
        if method == "fuse":
            setattr(module, name, result)
        _fold_within(child)


@torch.no_grad()
def _agree(one: nn.Module, other: nn.Module, image: Tensor) -> bool:
    try:
        wanted, found = one(image).float(), other(image).float()
    except (RuntimeError, AttributeError, TypeError):  # a part that folding took away was called
        return False
    return bool((found - wanted).norm() <= _TOLERANCE * wanted.norm().clamp(min=1e-6))
