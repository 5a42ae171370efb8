"""Where a unit works, and the data sets that are loaded there."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from bench.data import catalog
from bench.data.dataset import Dataset
from bench.plan.cell import Training


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit works: the data root, the folder that paths in the suite start from, the
    device, and the number of CPU threads (0: torch's own choice)."""

    data_root: Path
    base: Path
    device: str
    download: bool = False
    threads: int = 0


_datasets: OrderedDict[str, Dataset] = OrderedDict()
DATASETS_KEPT = 2


def load_dataset(training: Training, place: Place) -> Dataset:
    """The training's data set, kept in memory for the cells that follow.

    Raises:
        DataError: missing or unusable.
    """
    ref = training.dataset
    key = repr((ref.name, sorted(ref.options.items()), str(place.data_root), str(place.base)))
    if key not in _datasets:
        _datasets[key] = catalog.load(
            ref.name,
            root=place.data_root,
            download=place.download,
            base=place.base,
            **ref.options,
        )
        while len(_datasets) > DATASETS_KEPT:
            _datasets.popitem(last=False)
    return _datasets[key]
