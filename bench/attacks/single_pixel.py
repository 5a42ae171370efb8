"""One pixel to black or white (Foolbox 2.x's algorithm and defaults)."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.attacks.base import Attack
from bench.attacks.problem import Problem

# Random orders are made for so many numbers at once, which bounds memory for large images.
ORDERED = 1 << 22


def run(problem: Problem, *, max_pixels: int = 1000) -> Tensor:
    """For at most `max_pixels` pixels in random order: all channels to 0, then to 1; the first hit
    is kept. A pixel that has the value already is not asked about."""
    images = problem.images
    height, width = images.shape[2:]
    order = _orders(problem, height * width, max_pixels)
    index, done, steps = problem.rows, 0, 2 * order.shape[1]
    while len(index) and done < steps:
        count = min(problem.ahead(len(index)), steps - done)
        step = torch.arange(done, done + count, device=index.device)
        step, rows = step.repeat_interleave(len(index)), index.repeat(count)
        place, value = order[rows, step // 2], (step % 2).to(images)
        # Down the columns, as Foolbox counts.
        where = (torch.arange(len(rows), device=index.device), ..., place % height, place // height)
        candidates = images.index_select(0, rows)
        worth = (candidates[where] != value[:, None]).any(1)
        candidates[where] = value[:, None]
        index = index[problem.first(candidates, index, worth) == count]
        done += count
    return problem.best


def _orders(problem: Problem, size: int, count: int) -> Tensor:
    """int64 N x min(size, count): for every image the first pixels of a random order."""
    rows = problem.rows
    parts = rows.split(max(1, ORDERED // size)) if len(rows) else ()
    orders = [problem.source.permutation(part, 0, size)[:, :count].clone() for part in parts]
    return torch.cat(orders) if orders else rows.new_zeros(0, min(size, count))


ATTACK = Attack(
    run,
    deterministic=False,
    typical=1000,
    steps="max_pixels",
    norm="L0",
    defaults={"max_pixels": 1000},
)
