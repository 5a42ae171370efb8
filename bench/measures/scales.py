"""Which scale is vulnerable: a perturbation in some of a network's scale inputs, the rest clean.

Figures 5 and 12 of the paper; the perturbed image of full resolution is downsampled by the network
itself (facts of the paper, section 6b).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.models.network import Network
from bench.models.predict import classes


def names(network: Network) -> list[str]:
    """Every combination of scale inputs, as `high`, `high+low`; empty for a single input."""
    scales = getattr(network.backbone, "scale_names", ())
    if len(scales) < 2 or not hasattr(network.backbone, "forward_scales"):
        return []
    return ["+".join(chosen) for chosen in _chosen(scales)]


def _chosen(scales: tuple[str, ...]) -> list[tuple[str, ...]]:
    """One scale, two, ... all of them."""
    return [some for size in range(1, len(scales) + 1) for some in combinations(scales, size)]


@torch.no_grad()
def correct(
    network: Network, clean: Tensor, perturbed: Tensor, labels: Tensor
) -> NDArray[np.bool_]:
    """Which images are still classified correctly, for every combination of perturbed scales.

    Args:
        network: with or without several scale inputs.
        clean: N x C x H x W in [0, 1].
        perturbed: likewise.
        labels: int64 N.

    Returns:
        bool N x combinations, in the order of `names`.
    """
    if not names(network):
        return np.zeros((len(clean), 0), dtype=bool)
    backbone = network.backbone
    scales: tuple[str, ...] = backbone.scale_names  # type: ignore[assignment]
    plain, changed = network.normalize(clean), network.normalize(perturbed)
    columns = []
    for chosen in _chosen(scales):
        inputs = {name: changed if name in chosen else plain for name in scales}
        logits: Tensor = backbone.forward_scales(inputs)  # type: ignore[operator]
        columns.append(classes(logits) == labels)
    return torch.stack(columns, 1).cpu().numpy()
