"""Additive Gaussian noise of growing strength (Foolbox 2.x's algorithm and defaults)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.attacks.base import Attack, Problem


def run(problem: Problem, *, epsilons: int = 1000) -> Tensor:
    """For eps = 1/epsilons .. 1: clip(x + eps * N(0, eps / sqrt 3)); the first hit is kept.

    eps enters twice, as in the original. Images found leave the batch.
    """
    images = problem.images
    found = images.clone()
    active = torch.arange(len(images), device=images.device)
    shape = tuple(images.shape[1:])
    for step in range(1, epsilons + 1):
        if len(active) == 0:
            break
        eps = step / epsilons
        noise = np.stack(
            [problem.streams[i].standard_normal(shape, dtype=np.float32) for i in active.tolist()]
        )
        noise *= np.float32(eps * eps / np.sqrt(3.0))
        clean = images[active]
        candidates = (clean + torch.from_numpy(noise).to(clean.device)).clamp_(0, 1)
        hit = problem.fooled(candidates, active)
        found[active[hit]] = candidates[hit]
        active = active[~hit]
    return found


ATTACK = Attack(run, deterministic=False, defaults={"epsilons": 1000})
