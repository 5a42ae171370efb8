"""Where a unit works, and the data sets that are loaded there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.data import catalog
from bench.data.dataset import Dataset
from bench.data.fingerprint import difference, fingerprint
from bench.data.marks import Marks
from bench.errors import DataError
from bench.plan.cell import Training


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit works: the data root, the folder that paths in the suite start from, the
    device, and the number of CPU threads (0: torch's own choice). `contents` are the fingerprints
    that data sets must have, by label, `code` those of plugins' sources, by target. If `gpus` has
    several numbers, workers spread over these GPUs, of which `device` is the first."""

    data_root: Path
    base: Path
    device: str
    download: bool = False
    threads: int = 0
    contents: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[int, ...] = ()


_datasets: OrderedDict[str, Dataset] = OrderedDict()
_contents: dict[str, str] = {}  # fingerprints as the sets were last loaded
_marks: dict[str, Marks] = {}
DATASETS_KEPT = 2


def load_dataset(training: Training, place: Place) -> Dataset:
    """The training's data set, kept in memory for the cells that follow.

    Raises:
        DataError: missing, unusable, or of another content than the place is told.
    """
    ref, key = training.dataset, _key(training, place)
    if key not in _datasets:
        _datasets[key] = catalog.load(
            ref.name,
            root=place.data_root,
            download=place.download,
            base=place.base,
            **ref.options,
        )
        _contents[key] = fingerprint(_datasets[key])
        _marks[key] = Marks(_datasets[key])
        while len(_datasets) > DATASETS_KEPT:
            _datasets.popitem(last=False)
    wanted = place.contents.get(ref.label)
    if wanted not in (None, _contents[key]):
        del _datasets[key]
        what, *_ = difference(wanted, _contents[key])
        raise DataError(
            f"dataset '{ref.label}': its {what} changed while the run was at work, or "
            "a worker of the cluster has other files than the driver; put the old files back (the "
            "same ones everywhere), or seed what a function draws, and add --retry failed"
        )
    return _datasets[key]


def content(training: Training, place: Place) -> str:
    """The fingerprint of the training's data set as it was loaded here."""
    key = _key(training, place)
    if key not in _contents:
        load_dataset(training, place)
    return _contents[key]


def changed_dataset(training: Training, place: Place) -> str:
    """What of the training's data set, as it is in memory, was written into ("test labels"),
    if anything; then it is loaded anew for the cells that follow."""
    key = _key(training, place)
    if key not in _datasets:
        return ""
    changed = _marks[key].changed(_datasets[key])
    if changed:
        del _datasets[key]
    return changed


def forget_datasets() -> None:
    """Have data sets loaded anew, as in a new process."""
    _datasets.clear()
    _contents.clear()


def _key(training: Training, place: Place) -> str:
    ref = training.dataset
    return repr((ref.name, sorted(ref.options.items()), str(place.data_root), str(place.base)))
