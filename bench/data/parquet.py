"""Own images in Parquet files of the Hugging Face image schema: PATH/train*.parquet and the like.

A row holds an image (a struct with encoded `bytes`, or the bytes themselves) and an integer label;
class names may stand in the schema's metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.data import decoded, pixels
from bench.data.dataset import Dataset, DatasetInfo, check_split, require_square
from bench.data.parquet_files import Part, parts
from bench.errors import DataError

HIDDEN = -1  # the label that Hugging Face's sets give to test images without one
MOST_CLASSES = 100_000  # without class names, a larger label is taken for a mistake

Labels = list[npt.NDArray[np.int64]]


def load(
    path: Path,
    *,
    image_size: int | None = None,
    train_size: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Dataset:
    """Load both splits; the first of test, val, valid, validation that exists is the test split.

    Images are grey (one channel) if all of them are, else RGB. Mean and standard deviation are
    those of the training split. Without class names the classes are called "0", "1", ... A test
    split whose labels are all -1 has none.

    Args:
        path: folder of the Parquet files; several of one split are read in order of their names.
        image_size: side in pixels to resize to; needed where the sides of images vary.
        train_size: side of training images where they are to be larger, to be cropped.
        image_column: column of the images; default: what the metadata say, else "image".
        label_column: column of the labels; default: what the metadata say, else "label".

    Raises:
        DataError: files or columns missing, a corrupt file or image, a label missing or out of
            range; the message names the file and the row (from 0).
    """
    train, test = parts(path, image_column, label_column)
    sides = (train_size or image_size, image_size)
    source = decoded.Source(
        f"parquet {path.name}",
        path,
        [*train.files, *test.files],
        {
            "reader": "parquet",
            "train": len(train.files),
            "image": train.image,
            "label": train.label,
        },
        sides,
    )
    found = decoded.load(source, lambda: _contents(train, test, sides))
    for part, split in ((train, found.train), (test, found.test)):
        check_split(split, part.name, len(found.classes), part.where)
    return Dataset(path.name, found.train, found.test, found.classes, found.mean, found.std)


def inspect(
    path: Path,
    *,
    image_size: int | None = None,
    train_size: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> DatasetInfo:
    """Read the files' metadata, the labels and an image of each split, and look whether some others
    are coloured; mean and std are left empty.

    Raises:
        NotSquareError: one of them is not square, without an `image_size`.
        DataError: as `load`, as far as it looks.
    """
    train, test = parts(path, image_column, label_column)
    labels = _labels(train), _labels(test)
    trained, first = _first(train, train_size or image_size), _first(test, image_size)
    require_square(trained.shape[:2], first.shape[:2], str(path))
    return DatasetInfo(
        f"images in {path}",
        channels=1 if _looks_grey(train) and _looks_grey(test) else 3,
        image_size=first.shape[0],
        train_size=trained.shape[0],
        num_classes=len(_classes(train, test, labels)),
        train_samples=sum(map(len, labels[0])),
        test_samples=sum(map(len, labels[1])),
        mean=(),
        std=(),
        test_labels=not _hidden(test, labels[1]),
    )


def _first(part: Part, image_size: int | None) -> pixels.Bytes:
    """The first image of a split."""
    for file in part.files:
        for encoded in part.images(file, rows=1):
            return pixels.decode(encoded, f"{file}, row 0", image_size)
    raise DataError(f"{part.where}: the {part.name} split has no rows")


def _looks_grey(part: Part) -> bool:
    """Whether the first images of each file are all grey: the very first of a coloured set may be
    so."""
    return all(
        pixels.is_grey(encoded, f"{file}, row {row}")
        for file in part.files
        for row, encoded in enumerate(islice(part.images(file, pixels.LOOKED_AT), pixels.LOOKED_AT))
    )


def _labels(part: Part) -> Labels:
    """Return the labels of each file of a split that has any rows."""
    labels = [part.labels(file) for file in part.files]
    if not sum(map(len, labels)):
        raise DataError(f"{part.where}: the {part.name} split is empty")
    return labels


def _hidden(part: Part, labels: Labels) -> bool:
    return part.name == "test" and all((values == HIDDEN).all() for values in labels)


def _classes(train: Part, test: Part, labels: tuple[Labels, Labels]) -> tuple[str, ...]:
    """Return the class names; a label that no class can have is named with its row."""
    if train.classes and test.classes and train.classes != test.classes:
        raise DataError(f"{test.files[0]}: other class names than in {train.files[0]}")
    names = train.classes or test.classes
    largest = max(int(values.max()) for part in labels for values in part if len(values))
    count = len(names) or min(largest + 1, MOST_CLASSES)
    for part, of_part in zip((train, test), labels, strict=True):
        for file, values in zip(part.files, of_part, strict=True):
            bad = np.flatnonzero((values < 0) | (values >= count))
            if len(bad) and not _hidden(part, of_part):
                row = int(bad[0])
                raise DataError(
                    f"{file}, row {row}: label {int(values[row])} is not in 0..{count - 1} "
                    f"({count} classes)"
                )
    return names or tuple(map(str, range(count)))


def _contents(train: Part, test: Part, sides: tuple[int | None, int | None]) -> decoded.Contents:
    """What is to be decoded, labels and class names included."""
    labels = _labels(train), _labels(test)
    classes = _classes(train, test, labels)
    return decoded.Contents(
        _part(train, labels[0], sides[0]), _part(test, labels[1], sides[1]), classes
    )


def _part(part: Part, labels: Labels, side: int | None) -> decoded.Part:
    return decoded.Part(
        sum(map(len, labels)),
        lambda: _first(part, side),
        lambda: _images(part, labels, side),
        None if _hidden(part, labels) else np.concatenate(labels),
    )


def _images(part: Part, labels: Labels, side: int | None) -> Iterator[tuple[pixels.Bytes, str]]:
    """Decode all images of a split."""
    for file, values in zip(part.files, labels, strict=True):
        encoded = ((image, f"{file}, row {row}") for row, image in enumerate(part.images(file)))
        count = 0
        for image in pixels.threaded(lambda item: pixels.decode(*item, side), encoded):
            if count < len(values):
                yield image, f"{file}, row {count}"
            count += 1
        if count != len(values):
            raise DataError(f"{file}: {count} images but {len(values)} labels")
