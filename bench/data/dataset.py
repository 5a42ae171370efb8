"""What a data set is: images and labels, and what is known of it before it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.data import facts
from bench.errors import DataError, NotSquareError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """Facts about a data set that need no loading.

    `image_size` is the side of the test images in pixels, `train_size` that of training images
    (None: the same). `mean` and `std` are per channel, in [0, 1] units: the field's conventional
    values, or empty where only loading tells (own data). `download_mb` is what `--download` would
    fetch, in megabytes of 10^6 bytes. `foreground` is as in `Dataset`.
    """

    summary: str
    channels: int
    image_size: int
    num_classes: int
    train_samples: int
    test_samples: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    test_labels: bool = True
    download_mb: int = 0
    licence: str = ""
    foreground: float | None = None
    train_size: int | None = None

    @property
    def train_side(self) -> int:
        """The side of the training images in pixels."""
        return self.train_size or self.image_size


@dataclass(frozen=True, slots=True)
class Split:
    """One split: `images` uint8 N x C x H x W in 0..255, `labels` int64 N in 0..num_classes-1.

    `labels` is None where the set keeps its test labels to itself. Where it is known what is to
    be seen, `masks` is bool N x H x W, true on the object, and `boxes` holds for each image K x 4
    numbers (x0, y0, x1, y1 in pixels, half-open). `file` is what the images are mapped from, if
    they are: they then take no memory of this process.
    """

    images: Tensor
    labels: Tensor | None
    masks: Tensor | None = None
    boxes: tuple[Tensor, ...] | None = None
    file: Path | None = None

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def rows(self, index: Tensor) -> Split:
        """The images with these numbers (int64 n), in that order."""
        return Split(
            self.images[index],
            None if self.labels is None else self.labels[index],
            None if self.masks is None else self.masks[index],
            None if self.boxes is None else tuple(self.boxes[row] for row in index.tolist()),
        )

    def images_at(self, index: Tensor) -> Tensor:
        """The images with these numbers (int64 n), in that order; without a copy if they are all
        of them in their own, so not to be changed."""
        everything = len(index) == len(self) and bool((index[1:] > index[:-1]).all())
        return self.images if everything else self.images[index]

    @classmethod
    def from_arrays(
        cls, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer[Any]] | None
    ) -> Split:
        """Build a split from N x C x H x W bytes and N labels of any integer type."""
        import torch

        wide = None if labels is None else torch.from_numpy(labels.astype("int64"))
        return cls(torch.from_numpy(images).contiguous(), wide)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A loaded data set. The sides of `train` and `test` images may differ (Imagenette's do).

    `foreground` is for sets of bright objects on black, like MNIST: a pixel with any channel above
    it (in [0, 1]) is the object's.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    foreground: float | None = None

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return int(self.train.images.shape[1])

    @property
    def image_size(self) -> int:
        """Side of the test images in pixels (their height)."""
        return int(self.test.images.shape[2])

    def without_test(self) -> Dataset:
        """The set with two black images in place of its test images: for what must not see them.

        Networks can still be built for the size of the test images.
        """
        import torch

        shape = tuple(self.test.images.shape[1:])
        return replace(self, test=Split(torch.zeros((2, *shape), dtype=torch.uint8), None))

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)


class DatasetFactory(Protocol):
    """A data-set plugin: finds or (only if `download`) fetches its files below `root`.

    Options a factory names in its signature are its own; `image_size` is applied for those that
    do not name it.

    Raises:
        DataError: files missing, corrupt or unusable; the message names them.
    """

    def __call__(self, root: Path, *, download: bool = False, **options: object) -> Dataset:
        """Load it."""


@dataclass(frozen=True, slots=True)
class DatasetPlugin:
    """A factory together with what is known before loading (None: only loading tells)."""

    load: Callable[..., Dataset]
    info: DatasetInfo | None = None


def checked(dataset: Dataset, where: str) -> Dataset:
    """Return `dataset`, its images contiguous and its statistics plain floats, if all of it is
    usable.

    `where` names the file, folder or plugin in errors.

    Raises:
        DataError: a split that `check_split` refuses, splits that do not fit each other, test
            images of a class without training images, or classes, statistics or a foreground that
            are not what they should be.
    """
    dataset = replace(dataset, classes=facts.classes(dataset.classes, where))
    for part, split in (("training", dataset.train), ("test", dataset.test)):
        if not isinstance(split, Split):
            raise DataError(f"{where}: the {part} split is {type(split).__name__}, not a Split")
        check_split(split, part, dataset.num_classes, where)
    _check_seen(dataset, where)
    channels, test_channels = dataset.channels, int(dataset.test.images.shape[1])
    if channels != test_channels:
        raise DataError(
            f"{where}: training images have {channels} channels, test images {test_channels}"
        )
    mean, std = facts.moments(dataset.mean, dataset.std, channels, where)
    return replace(
        dataset,
        train=_contiguous(dataset.train),
        test=_contiguous(dataset.test),
        mean=mean,
        std=std,
        foreground=facts.foreground(dataset.foreground, where),
    )


def check_square(dataset: Dataset, where: str) -> None:
    """Refuse images that are not square: networks are built for one side length.

    Raises:
        NotSquareError: height and width differ in either split.
    """
    require_square(dataset.train.images.shape[2:], dataset.test.images.shape[2:], where)


def require_square(train: Sequence[int], test: Sequence[int], where: str) -> None:
    """As `check_square`, of the height and width of the images of both splits."""
    for part, (height, width) in (("training", train), ("test", test)):
        if height != width:
            raise NotSquareError(
                f"{where}: the {part} images are {width} x {height} pixels, not square; "
                "set image_size"
            )


def check_split(split: Split, part: str, num_classes: int, where: str) -> None:
    """Refuse a split that no measure could use; `part` is "training" or "test".

    Raises:
        DataError: images of a wrong type or shape or none at all, and labels that are missing (in
            training), too few or many, out of range or all of one class.
    """
    _check_images(split.images, part, where)
    _check_objects(split, part, where)
    if split.labels is None:
        if part == "training":
            raise DataError(f"{where}: the training split has no labels")
        return
    _check_labels(split.labels, len(split), part, num_classes, where)


def _check_images(images: Tensor, part: str, where: str) -> None:
    shape, kind = _described(images)
    if kind != "uint8" or len(shape) != 4:
        raise DataError(
            f"{where}: the {part} images are {kind} of shape {shape}, "
            "expected uint8 of shape N x C x H x W"
        )
    if shape[0] == 0:
        raise DataError(f"{where}: the {part} split is empty")


def _check_objects(split: Split, part: str, where: str) -> None:
    count, _, height, width = split.images.shape
    if split.masks is not None:
        shape, kind = _described(split.masks)
        if kind != "bool" or shape != (count, height, width):
            raise DataError(
                f"{where}: the {part} masks are {kind} of shape {shape}, "
                f"expected bool of shape ({count}, {height}, {width})"
            )
    if split.boxes is not None and not isinstance(split.boxes, Sequence):
        raise DataError(
            f"{where}: the {part} boxes are {type(split.boxes).__name__}, expected K x 4 numbers "
            "for each image"
        )
    for number, boxes in enumerate(split.boxes or ()):
        shape, _ = _described(boxes)
        if len(shape) != 2 or shape[1] != 4:
            raise DataError(
                f"{where}: the {part} boxes of image {number} have shape {shape}, expected K x 4"
            )
        if not bool((boxes[:, :2] < boxes[:, 2:]).all()):
            raise DataError(f"{where}: a box of {part} image {number} has no area")
        if not bool(
            ((boxes[:, 2:] > 0).all(1) & (boxes[:, 0] < width) & (boxes[:, 1] < height)).all()
        ):
            raise DataError(f"{where}: a box of {part} image {number} lies outside of the image")
    if split.boxes is not None and len(split.boxes) != count:
        raise DataError(
            f"{where}: the {part} split has {count} images but boxes of {len(split.boxes)}"
        )


def _check_labels(labels: Tensor, images: int, part: str, num_classes: int, where: str) -> None:
    shape, kind = _described(labels)
    if kind != "int64" or len(shape) != 1:
        raise DataError(
            f"{where}: the {part} labels are {kind} of shape {shape}, expected int64 of shape N"
        )
    if shape[0] != images:
        raise DataError(f"{where}: the {part} split has {images} images but {shape[0]} labels")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        bad = low if low < 0 else high
        raise DataError(
            f"{where}: the {part} split has label {bad}, outside 0..{num_classes - 1} "
            f"({num_classes} classes)"
        )
    if low == high:
        raise DataError(f"{where}: the {part} split has only one class (label {low})")


def _check_seen(dataset: Dataset, where: str) -> None:
    """Refuse test images of a class that no network can have learnt."""
    train, test = dataset.train.labels, dataset.test.labels
    if train is None or test is None:
        return
    unseen = {*test.unique().tolist()} - {*train.unique().tolist()}
    if unseen:
        name = dataset.classes[min(unseen)]
        rest = len(unseen) - 1
        more = f" (and {rest} other{'s' if rest > 1 else ''})" if rest else ""
        raise DataError(
            f"{where}: the test split has images of class '{name}'{more}, and the training split "
            "none; give it some, or leave these test images out"
        )


def _described(value: object) -> tuple[tuple[int, ...], str]:
    """Return a tensor's shape and type; of anything else no shape and the name of its class."""
    from torch import Tensor

    if isinstance(value, Tensor):
        return tuple(value.shape), str(value.dtype).removeprefix("torch.")
    return (), type(value).__name__


def _contiguous(split: Split) -> Split:
    return replace(split, images=split.images.contiguous())
