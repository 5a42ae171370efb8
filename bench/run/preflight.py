"""Before anything is trained: is the data there, and can every network be built?"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from bench.errors import BenchError
from bench.models import backbones
from bench.plan.cell import Cell
from bench.run.unit import Place, build_network, load_dataset


def check(cells: Iterable[Cell], place: Place) -> None:
    """Load every data set and build every declared network once.

    Raises:
        BenchError: what is missing or cannot be built, all of it at once, a line each.
    """
    problems: dict[str, None] = {}
    seen: set[str] = set()
    for cell in cells:
        training = cell.training
        pair = f"{training.dataset.label}/{training.backbone.label}/{training.variant}"
        if pair in seen:
            continue
        seen.add(pair)
        try:
            dataset = load_dataset(training, place)
        except BenchError as error:
            problems[str(error)] = None
            continue
        if not backbones.is_declared(training.backbone.name):
            continue  # a plugin that cannot be built is a failed cell; the others go on
        try:
            with torch.device("meta"):
                build_network(training, dataset)
        except BenchError as error:
            problems[f"{pair}: {error}"] = None
    if problems:
        raise BenchError("\n".join(problems))
