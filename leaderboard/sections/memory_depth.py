"""Where the memory of a training step goes: what is kept for the backward pass at each depth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from leaderboard.blocks import Block, Figure, Heading
from leaderboard.kept import Kept
from leaderboard.numbers.summary import by_seed
from leaderboard.results import Results
from leaderboard.text import said, slug

if TYPE_CHECKING:
    from leaderboard.sections.drawn import Order

_METRIC = re.compile(r"kept_bytes\[depth (\d+)\]")

Profile = dict[str, dict[str, list[float]]]


def profiles(results: Results, dataset: str) -> Profile:
    """Backbone to variant to bytes per image at depth 1, 2, ..., the same for all seeds."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for key, seeds in by_seed(results.rows).items():
        match = _METRIC.fullmatch(key.metric)
        if match and key.dataset == dataset:
            variants = found.setdefault(key.backbone, {})
            variants.setdefault(key.variant, {})[int(match[1])] = next(iter(seeds.values()))
    return {
        backbone: {v: [depths.get(d, 0.0) for d in range(1, max(depths) + 1)]
                   for v, depths in variants.items()}
        for backbone, variants in found.items()
    }  # fmt: skip


def memory_blocks(
    results: Results, dataset: str, order: Order, taken: set[str], kept: Kept
) -> Iterator[Block]:
    """The section; nothing where it was not measured."""
    every = profiles(results, dataset)
    if not every:
        return
    backbones, note = order.pick_backbones(every)
    found = {backbone: every[backbone] for backbone in backbones}
    from leaderboard.figures.bars import memory_figure

    yield Heading(3, "Memory by depth")
    yield Figure(
        slug(f"{dataset}-memory-by-depth", taken),
        kept.figure(("memory by depth", dataset, found), lambda: memory_figure(dataset, found)),
        f"Memory that training keeps at each depth, on {dataset}",
        said(
            note,
            "What a training step keeps for its backward pass at each depth of a network, per "
            "image, counted in single precision. The paper (section 5) expects of its networks "
            "that bottom-up ones are heavy at their beginning, top-down ones at their end. Depths "
            "are as bench describe counts them.",
        ),
    )
