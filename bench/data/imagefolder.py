"""Own images in folders: PATH/train/CLASS/* and PATH/{test,val,valid,validation}/CLASS/*."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.data import decoded, pixels
from bench.data.dataset import Dataset, DatasetInfo, check_split, require_square
from bench.data.table import IMAGES
from bench.errors import DataError

TEST_NAMES = ("test", "val", "valid", "validation")
_NAMED = 12  # classes that an error names

Sample = tuple[Path, int]


def load(path: Path, *, image_size: int | None = None, train_size: int | None = None) -> Dataset:
    """Load both splits; the first of `TEST_NAMES` that exists is the test split.

    Images are grey (one channel) if all of them are, else RGB. Mean and standard deviation are
    those of the training split. `image_size` (pixels) is needed where the sides of images vary;
    `train_size` is that of training images where they are to be larger, to be cropped.

    Raises:
        DataError: folders missing or empty, classes that differ between the splits, a corrupt
            image, or sides that vary; the message names the file or folder.
    """
    train_folder, test_folder = _folders(path)
    classes = class_names(train_folder)
    train, test = (samples(folder, classes) for folder in (train_folder, test_folder))
    sides = (train_size or image_size, image_size)
    source = decoded.Source(
        f"imagefolder {path.name}",
        path,
        [file for file, _ in (*train, *test)],
        {"reader": "imagefolder"},
        sides,
    )
    found = decoded.load(
        source, lambda: decoded.Contents(part(train, sides[0]), part(test, sides[1]), classes)
    )
    check_split(found.train, "training", len(classes), str(train_folder))
    return Dataset(path.name, found.train, found.test, classes, found.mean, found.std)


def inspect(
    path: Path, *, image_size: int | None = None, train_size: int | None = None
) -> DatasetInfo:
    """Count files and classes, decode one image of each split and look whether some others are
    coloured; mean and std are left empty.

    Raises:
        NotSquareError: one of them is not square, without an `image_size`.
        DataError: folders missing or empty, or one of them is corrupt.
    """
    train_folder, test_folder = _folders(path)
    classes = class_names(train_folder)
    train, test = samples(train_folder, classes), samples(test_folder, classes)
    parts = ((train, train_size or image_size), (test, image_size))
    trained, first = (pixels.decode(one, str(one), side) for ((one, _), *_), side in parts)
    require_square(trained.shape[:2], first.shape[:2], str(path))
    return DatasetInfo(
        f"images in {path}",
        channels=1 if all(map(_looks_grey, (train, test))) else 3,
        image_size=first.shape[0],
        train_size=trained.shape[0],
        num_classes=len(classes),
        train_samples=len(train),
        test_samples=len(test),
        mean=(),
        std=(),
    )


def _looks_grey(found: Sequence[Sample]) -> bool:
    """Whether images spread over a split are all grey: the first of a coloured set may be so."""
    step = -(-len(found) // pixels.LOOKED_AT)
    return all(pixels.is_grey(file, str(file)) for file, _ in found[::step])


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the sorted names of the folders in `folder`, without hidden ones.

    Raises:
        DataError: there are fewer than two.
    """
    names = tuple(sorted(item.name for item in _visible(folder) if item.is_dir()))
    if len(names) < 2:
        raise DataError(
            f"{folder}: {len(names) or 'no'} class folder{'s' * (len(names) != 1)}, "
            "at least two are needed (one folder per class, its images inside)"
        )
    return names


def samples(folder: Path, classes: Sequence[str]) -> list[Sample]:
    """Return every image file in the folders of `classes`, in order, with its class's index.

    Files without an image's suffix are passed over.

    Raises:
        DataError: a class has no folder or no images, or there is a folder of another class.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}")
    present = {item.name for item in _visible(folder) if item.is_dir()}
    for name in sorted({*classes} ^ present):
        kind = "has no folder of class" if name in classes else "has a folder of an unknown class"
        few = ", ".join(classes[:_NAMED])
        more = f" and {len(classes) - _NAMED:,} more" if len(classes) > _NAMED else ""
        raise DataError(f"{folder}: {kind} '{name}'; the classes are {few}{more}")
    found: list[Sample] = []
    for index, name in enumerate(classes):
        files = [item for item in _visible(folder / name) if item.suffix.lower() in IMAGES]
        if not files:
            raise DataError(f"{folder / name}: no images ({', '.join(sorted(IMAGES))})")
        found += [(file, index) for file in sorted(files)]
    return found


def part(found: Sequence[Sample], side: int | None) -> decoded.Part:
    """Samples as what is to be decoded, resized to a `side` square if given.

    Decoding raises DataError of a corrupt image, or of sides that vary; it names the file.
    """

    def images() -> Iterator[tuple[pixels.Bytes, str]]:
        files = (file for file, _ in found)
        each = pixels.threaded(lambda file: pixels.decode(file, str(file), side), files)
        for (file, _), image in zip(found, each, strict=True):
            yield image, str(file)

    first, _ = found[0]
    return decoded.Part(
        len(found),
        lambda: pixels.decode(first, str(first), side),
        images,
        np.array([label for _, label in found], np.int64),
    )


def _folders(path: Path) -> tuple[Path, Path]:
    train = path / "train"
    if not train.is_dir():
        raise DataError(
            f"no folder {train}; images belong into {path}/train/CLASS and {path}/test/CLASS"
        )
    for name in TEST_NAMES:
        if (path / name).is_dir():
            return train, path / name
    names = f"{', '.join(TEST_NAMES[:-1])} or {TEST_NAMES[-1]}"
    raise DataError(f"{path}: no folder {names}; its test images belong there")


def _visible(folder: Path) -> list[Path]:
    return [item for item in folder.iterdir() if not item.name.startswith(".")]
