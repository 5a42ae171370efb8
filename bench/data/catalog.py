"""Names to data sets: the built-in table, plugins, and `imagefolder:PATH` or `parquet:PATH`.

Importing this module, and `info`, `validate` and `label` of anything built in, needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.data import subset
from bench.data.dataset import Dataset, DatasetInfo, check_square, checked
from bench.data.options import invalid
from bench.data.root import default_root
from bench.data.sources import REGISTRY, find
from bench.errors import BenchError, DataError, UnknownNameError

__all__ = ["REGISTRY", "default_root", "info", "label", "load", "missing", "validate"]


def load(
    name: str,
    *,
    root: Path,
    download: bool = False,
    base: Path | None = None,
    **options: object,
) -> Dataset:
    """Load a data set by registered name, `module:attribute`, `imagefolder:` or `parquet:PATH`.

    Args:
        name: what a suite writes under `datasets`.
        root: folder of the built-in sets' files, in torchvision's layout.
        download: fetch what is missing; never done otherwise.
        base: folder that relative paths in `name` start from (the suite's); default: the current.
        options: those of the data set, and for every set `image_size` in pixels: both splits are
            resized to squares of that side, bilinear and antialiased; `train_samples` and
            `test_samples`: a class-balanced part of that many images.

    Returns:
        The data set, named `label(name)`: images uint8 N x C x S x S, contiguous, labels int64.

    Raises:
        UnknownNameError: no such data set; the message offers the nearest name.
        DataError: an unknown or bad option, more images asked for than there are or fewer than
            classes; files missing, corrupt or unusable; a broken plugin.
        BenchError: a plugin that does not import.
    """
    source = find(name, base)
    counts, own = subset.split_options(options)
    problem = invalid(counts, subset.OPTIONS) or source.problem(own)
    if problem:
        raise DataError(f"dataset '{name}': {problem}")
    dataset = checked(source.load(root.expanduser(), download, own), source.where)
    check_square(dataset, source.where)
    there = len(dataset.train), len(dataset.test)
    problem = subset.misfit(counts, *there, dataset.num_classes)
    if problem:
        raise DataError(f"dataset '{name}': {problem}")
    dataset = checked(subset.thinned(dataset, **counts), source.where)
    return replace(dataset, name=source.label)


def info(
    name: str, options: Mapping[str, object] | None = None, base: Path | None = None
) -> DatasetInfo | None:
    """Return what is known of a data set without loading it; None where only loading tells.

    Own data are looked at cheaply: their numbers and classes, and some images. A plugin has to be
    imported. Sizes among `options` are taken into account.

    Raises:
        UnknownNameError: no such data set.
        DataError: a folder that is missing or does not hold the expected files.
        BenchError: a plugin that does not import.
    """
    counts, given = subset.split_options(options or {})
    found = find(name, base).info(given)
    if found is None:
        return None
    sizes = {key: given[key] for key in ("image_size", "train_size") if key in given}
    if "image_size" in sizes:  # of training images too, if there is no other for them
        sizes.setdefault("train_size", None)
    kept = {key: min(number, getattr(found, key)) for key, number in counts.items()}
    return replace(found, **sizes, **kept)


def missing(name: str, root: Path, base: Path | None = None) -> str | None:
    """Say on one line what a data set lacks in the folder `root` and how to come by it, or None.

    Nothing is loaded or fetched: a file may be there and broken, and of plugins only loading tells.

    Raises:
        UnknownNameError: no such data set.
    """
    try:
        return find(name, base).missing(root.expanduser())
    except OSError as error:
        return f"dataset '{name}': {error.filename or root}: cannot be read: {error.strerror}"


def validate(
    name: str, options: Mapping[str, object] | None = None, base: Path | None = None
) -> str | None:
    """Say what is wrong with a data set named in a suite, or return None; nothing is loaded.

    Whether a plugin imports, and the options it alone knows, are left to `load`.
    """
    try:
        counts, own = subset.split_options(options or {})
        problem = invalid(counts, subset.OPTIONS) or find(name, base).problem(own)
    except UnknownNameError as error:
        return str(error)
    if problem or not counts:
        return problem
    try:
        known = info(name, own, base)
    except BenchError:  # files or a plugin of which `load` tells what is wrong
        return None
    if known is None:
        return None
    return subset.misfit(counts, known.train_samples, known.test_samples, known.num_classes)


def label(name: str) -> str:
    """Return the display name: `parquet:/x/cars` is `parquet:cars`, `module:attr` is `attr`.

    Raises:
        UnknownNameError: no such data set.
    """
    return find(name, None).label
