"""Image bytes to arrays: decoding, resizing, stacking and the statistics of a whole split.

Pillow resizes everything (bilinear, antialiased): its fixed-point arithmetic gives the same bits
on every machine, whichever way an image came in.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.errors import DataError
from bench.registry import one_line

Bytes = npt.NDArray[np.uint8]
Shape = tuple[int, int, int, int]
Moments = tuple[tuple[float, ...], tuple[float, ...]]
Item = TypeVar("Item")

GREY_MODES = frozenset({"1", "L"})
DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
EXIF_ORIENTATION = 0x0112
LOOKED_AT = 32  # images of a split whose headers tell, before it is loaded, whether it is grey
CHUNK = 16  # images a task: handing over single small ones costs more than decoding them


def decode(source: Path | bytes, where: str, side: int | None = None) -> Bytes:
    """Return an image as H x W (grey) or H x W x 3 bytes, resized to a `side` square if given.

    Photos are turned as their EXIF orientation says; transparency is dropped.

    Raises:
        DataError: not an image, truncated, or grey of more than 8 bits; starts with `where`. (Of
            16-bit colours Pillow gives the upper 8 bits.)
    """
    with _opened(source, where) as image:
        if image.mode in DEEP_MODES:
            raise DataError(
                f"{where}: has mode {image.mode}, but only 8 bits a channel are supported"
            )
        return _pixels(image, side)


def is_grey(source: Path | bytes, where: str) -> bool:
    """Whether `decode` makes one channel of an image; reads no more than its header.

    Raises:
        DataError: it is no image; starts with `where`.
    """
    with _opened(source, where) as image:
        return image.mode in GREY_MODES


@contextmanager
def _opened(source: Path | bytes, where: str) -> Iterator[Image.Image]:
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            yield image
    except DataError:
        raise
    # Pillow's decoders raise whatever a broken file makes them stumble over.
    except Exception as error:
        detail = "it is no image" if isinstance(error, UnidentifiedImageError) else one_line(error)
        raise DataError(f"{where}: cannot be decoded ({detail})") from error


def _pixels(image: Image.Image, side: int | None) -> Bytes:
    upright = ImageOps.exif_transpose(image) if image.getexif().get(EXIF_ORIENTATION) else image
    if upright.mode == "P":
        # Which is dropped all the same; of a palette Pillow would warn on the way.
        upright.info.pop("transparency", None)
    plain = upright.convert("L" if upright.mode in GREY_MODES else "RGB")
    if side is not None and plain.size != (side, side):
        plain = plain.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(plain)


def threaded(function: Callable[[Item], Bytes], items: Iterable[Item]) -> Iterator[Bytes]:
    """Map in threads, in order; Pillow lets go of the interpreter lock while it decodes.

    They do not run ahead of whoever takes the results: a few chunks are in memory at a time.
    """
    rest, threads = iter(items), min(8, os.cpu_count() or 1)
    ahead: deque[Future[list[Bytes]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                while len(ahead) < threads + 2 and (chunk := list(islice(rest, CHUNK))):
                    ahead.append(pool.submit(lambda part: [function(item) for item in part], chunk))
                if not ahead:
                    return
                yield from ahead.popleft().result()
        finally:  # after an error, do not decode the rest first
            pool.shutdown(cancel_futures=True)


class Store(Protocol):
    """Where a stack's images go: memory, or a file."""

    shape: Shape

    def append(self, planes: Bytes) -> None:
        """Take the next image, C x H x W, or 1 x H x W for each channel the same."""

    def widen(self) -> None:
        """Go on with three channels; the images so far are grey."""

    def array(self) -> Bytes:
        """All images, N x C x H x W; nothing can be added any more."""


class InMemory:
    """A store that is an array of its own."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._array: Bytes = np.empty(shape, np.uint8)
        self._used = 0

    def append(self, planes: Bytes) -> None:
        """Copy the next image."""
        self._array[self._used] = planes
        self._used += 1

    def widen(self) -> None:
        """Repeat the grey images."""
        self._array = np.repeat(self._array, 3, axis=1)
        self.shape = (self.shape[0], 3, *self.shape[2:])

    def array(self) -> Bytes:
        """The array."""
        return self._array


class Stack:
    """Collects decoded images into one N x C x H x W array, in memory or what `store` makes.

    `channels` None: one as long as all are grey, else three.
    """

    def __init__(
        self,
        count: int,
        channels: int | None = None,
        store: Callable[[Shape], Store] = InMemory,
    ) -> None:
        self._count = count
        self._channels = channels
        self._used = 0
        self._make = store
        self._store: Store | None = None

    @property
    def channels(self) -> int:
        """Channels so far; 0 without an image."""
        return self._store.shape[1] if self._store else 0

    def add(self, image: Bytes, where: str) -> None:
        """Append an H x W or H x W x 3 image; `where` names it in errors.

        Raises:
            DataError: its sides differ from those of the images before.
        """
        colour = image.ndim == 3
        if self._store is None:
            channels = self._channels or (3 if colour else 1)
            self._store = self._make((self._count, channels, image.shape[0], image.shape[1]))
        height, width = self._store.shape[2:]
        if image.shape[:2] != (height, width):
            raise DataError(
                f"{where}: {image.shape[1]} x {image.shape[0]} pixels, but the images before it "
                f"are {width} x {height}; set image_size"
            )
        if colour:
            self.widen()
        self._store.append(image.transpose(2, 0, 1) if colour else image[None])
        self._used += 1

    def widen(self) -> None:
        """Give grey images three channels."""
        if self._store is not None and self._store.shape[1] == 1:
            self._store.widen()

    def array(self) -> Bytes:
        """Return the stacked images, which must be as many as announced."""
        if self._store is None or self._used != self._count:
            raise ValueError(f"{self._used} of {self._count} images")
        return self._store.array()


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


def moments(images: Bytes) -> Moments:
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
