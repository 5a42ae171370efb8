"""A network as it predicts: branches that only training needs are folded into one."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

# Methods by which timm's modules fold themselves, such as RepVGG's and MobileOne's.
_FOLDS = ("reparameterize", "fuse", "switch_to_deploy")
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
    if not any(_folds(module) for module in twin.modules()):
        return twin
    from timm.utils.model import reparameterize_model

    folded = reparameterize_model(copy.deepcopy(twin), inplace=True).eval()
    return folded if _agree(twin, folded, image) else twin


def _folds(module: nn.Module) -> bool:
    ours = type(module).__module__.partition(".")[0] == "timm"
    return ours and any(callable(getattr(module, name, None)) for name in _FOLDS)


@torch.no_grad()
def _agree(one: nn.Module, other: nn.Module, image: Tensor) -> bool:
    try:
        wanted, found = one(image).float(), other(image).float()
    except (RuntimeError, AttributeError, TypeError):  # a part that folding took away was called
        return False
    return bool((found - wanted).norm() <= _TOLERANCE * wanted.norm().clamp(min=1e-6))
