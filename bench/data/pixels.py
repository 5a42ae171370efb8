"""Image bytes to arrays: decoding, resizing, stacking and the statistics of a whole split.

Pillow resizes everything (bilinear, antialiased): its fixed-point arithmetic gives the same bits
on every machine, whichever way an image came in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.errors import DataError
from bench.registry import one_line

Bytes = npt.NDArray[np.uint8]
Item = TypeVar("Item")

GREY_MODES = frozenset({"1", "L"})
DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
EXIF_ORIENTATION = 0x0112
CHUNK = 64  # images a task: handing over single small ones costs more than decoding them


def decode(source: Path | bytes, where: str, side: int | None = None) -> Bytes:
    """Return an image as H x W (grey) or H x W x 3 bytes, resized to a `side` square if given.

    Photos are turned as their EXIF orientation says; transparency is dropped.

    Raises:
        DataError: not an image, truncated, or of more than 8 bits a channel; starts with `where`.
    """
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            mode = image.mode
            if mode not in DEEP_MODES:
                return _pixels(image, side)
    # Pillow's decoders raise whatever a broken file makes them stumble over.
    except Exception as error:
        detail = "it is no image" if isinstance(error, UnidentifiedImageError) else one_line(error)
        raise DataError(f"{where}: cannot be decoded ({detail})") from error
    raise DataError(f"{where}: has mode {mode}, but only 8 bits a channel are supported")


def _pixels(image: Image.Image, side: int | None) -> Bytes:
    upright = ImageOps.exif_transpose(image) if image.getexif().get(EXIF_ORIENTATION) else image
    plain = upright.convert("L" if upright.mode in GREY_MODES else "RGB")
    if side is not None and plain.size != (side, side):
        plain = plain.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(plain)


def threaded(function: Callable[[Item], Bytes], items: Sequence[Item]) -> Iterator[Bytes]:
    """Map in threads, in order; Pillow lets go of the interpreter lock while it decodes."""
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for done in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
                yield from done
        finally:  # after an error, do not decode the rest first
            pool.shutdown(cancel_futures=True)


class Stack:
    """Collects decoded images into one N x C x H x W array.

    `channels` None: one as long as all are grey, else three.
    """

    def __init__(self, count: int, channels: int | None = None) -> None:
        self._count = count
        self._channels = channels
        self._used = 0
        self._array: Bytes | None = None

    def add(self, image: Bytes, where: str) -> None:
        """Append an H x W or H x W x 3 image; `where` names it in errors.

        Raises:
            DataError: its sides differ from those of the images before.
        """
        colour = image.ndim == 3
        if self._array is None:
            channels = self._channels or (3 if colour else 1)
            self._array = np.empty((self._count, channels, *image.shape[:2]), np.uint8)
        height, width = self._array.shape[2:]
        if image.shape[:2] != (height, width):
            raise DataError(
                f"{where}: {image.shape[1]} x {image.shape[0]} pixels, but the images before it "
                f"are {width} x {height}; set image_size"
            )
        if colour and self._array.shape[1] == 1:
            self._array = np.repeat(self._array, 3, axis=1)
        self._array[self._used] = image.transpose(2, 0, 1) if colour else image
        self._used += 1

    def array(self) -> Bytes:
        """Return the stacked images, which must be as many as announced."""
        if self._array is None or self._used != self._count:
            raise ValueError(f"{self._used} of {self._count} images")
        return self._array


def same_channels(train: Bytes, test: Bytes) -> tuple[Bytes, Bytes]:
    """Give grey images three channels where the other split is coloured."""
    channels = max(train.shape[1], test.shape[1])
    widened = [
        images if images.shape[1] == channels else np.repeat(images, channels, axis=1)
        for images in (train, test)
    ]
    return widened[0], widened[1]


def resized(images: Bytes, side: int) -> Bytes:
    """Return N x C x H x W images resized to `side` x `side`, each channel by itself."""
    if images.shape[2:] == (side, side):
        return images
    planes = images.reshape(-1, *images.shape[2:])
    out = np.empty((len(planes), side, side), np.uint8)
    for plane, target in zip(planes, out, strict=True):
        small = Image.fromarray(plane).resize((side, side), Image.Resampling.BILINEAR)
        target[:] = np.asarray(small)
    return out.reshape(*images.shape[:2], side, side)


def moments(images: Bytes) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the per-channel mean and standard deviation of N x C x H x W bytes, in [0, 1] units.

    Counted in integers, so neither order nor threads can change a bit. The deviation is at least
    one grey level (1/255): it divides.
    """
    counts = np.zeros((images.shape[1], 256), np.int64)
    for image in images:
        for channel, plane in zip(counts, image, strict=True):
            channel += np.bincount(plane.reshape(-1), minlength=256)
    levels = np.arange(256) / 255
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    spread = np.sqrt(np.maximum((shares * (levels - mean[:, None]) ** 2).sum(axis=1), 0))
    return tuple(map(float, mean)), tuple(float(max(value, 1 / 255)) for value in spread)
