"""Learning-rate schedules, as a function of the step so that they can be tested by themselves."""

from __future__ import annotations

import math

from bench.suite.recipe import Recipe


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of optimisation step `step` (from 0).

    "three-stage" is the paper's: x0.1 from epoch ceil(0.5 E) and again from ceil(0.8 E) on
    (0-based). "one-cycle": linear from lr/25 to lr over the first 30 % of the steps, then a
    cosine to lr/25,000.
    """
    total = recipe.epochs * steps_per_epoch
    if recipe.schedule == "three-stage":
        epoch = step // steps_per_epoch
        drops = sum(epoch >= math.ceil(share * recipe.epochs) for share in (0.5, 0.8))
        return recipe.lr * 0.1**drops
    if recipe.schedule == "one-cycle":
        rise = 0.3 * total
        if step < rise:
            return recipe.lr * (1 / 25 + (1 - 1 / 25) * step / rise)
        share = (step - rise) / max(1.0, total - 1 - rise)
        low = 1 / 25_000
        return recipe.lr * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))
    return recipe.lr
