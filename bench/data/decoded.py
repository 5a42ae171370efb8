"""Images that have to be decoded: once, into the cache if they are many; else into memory."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import torch
from PIL import features
from torch import Tensor

from bench.data import cache, pixels
from bench.data.dataset import Split
from bench.suite.units import size_text

FORMAT = 1  # of what is cached: raise it when other images come out of the same files
_SAMPLED, _ENDS = 32, 2**16
# Names of entries that could not be written: processes started from here need not try again.
_FAILED = "BENCH_CACHE_FAILED"

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """A split to decode.

    `first` decodes its first image. `images` decodes all `count` of them, in order: H x W (grey)
    or H x W x 3 bytes, and how errors name each. `labels` are N, or None where there are none.
    """

    count: int
    first: Callable[[], pixels.Bytes]
    images: Callable[[], Iterable[tuple[pixels.Bytes, str]]]
    labels: Labels | None


@dataclass(frozen=True, slots=True)
class Contents:
    """What is to be decoded; `channels` None: one if all images are grey, else three. `moments`
    are mean and std of the training images where they are known, else they are computed."""

    train: Part
    test: Part
    classes: tuple[str, ...]
    channels: int | None = None
    moments: pixels.Moments | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """Both splits, the names of the classes, mean and std per channel of the training images."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where encoded images come from: files below `root`, read in the way that `settings` (plain
    data) say. `label` is for people. `sides` are those that training and test images are resized
    to, in pixels; None: as they are."""

    label: str
    root: Path
    files: Sequence[Path]
    settings: Mapping[str, Any]
    sides: tuple[int | None, int | None]

    def key(self) -> str:
        """A name for what comes out of these files.

        It changes with their names, sizes and times of change, and with the bytes of some of them:
        archives may give all files one time.
        """
        codecs = {name: features.version(name) for name in ("jpg", "libjpeg_turbo", "webp")}
        head = [FORMAT, PIL.__version__, codecs, sorted(self.settings.items()), self.sides]
        sha = hashlib.sha256(json.dumps(head).encode())
        # `relative_to` takes its time for a million files. Names need not be UTF-8.
        above = len(os.fsencode(self.root))
        for file in self.files:
            sha.update(b"\n%b\0%b" % (os.fsencode(file)[above:], _state(file).encode()))
        for file in self.files[:: max(1, len(self.files) // _SAMPLED)]:
            sha.update(_ends(file))
        return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', self.label)[:40]}-{sha.hexdigest()[:24]}"

    def sizes(self) -> str:
        """` at 156 x 156 and 128 x 128 pixels`; nothing where nothing is resized."""
        found = [f"{side} x {side}" for side in dict.fromkeys(self.sides) if side]
        return f" at {' and '.join(found)} pixels" if found else ""


def load(source: Source, read: Callable[[], Contents]) -> Decoded:
    """Map the images from the cache, decoding them into it first if need be; sets below
    `cache.threshold()` are decoded into memory.

    Args:
        source: where they come from.
        read: says what to decode; not called for what is cached.

    Raises:
        DataError: as decoding does.
    """
    name = source.key()
    if (found := cache.find(name)) is not None:
        return _mapped(found)
    contents = read()
    count = contents.train.count + contents.test.count
    size = _size(contents)
    if size < cache.threshold():
        return _in_memory(contents)

    def write(folder: Path) -> tuple[dict[str, pixels.Shape], dict[str, Any]]:
        _say(
            f"decoding {count:,} images of {source.label}{source.sizes()} into {folder.parent} "
            "(once; it may take minutes)"
        )
        return _write(folder, contents)

    entry = _kept(name, source.label, size, write)
    return _in_memory(contents) if entry is None else _mapped(entry)


def rows(split: Split, index: Tensor) -> Split:
    """Some images (int64 n, their numbers) of a split; mapped from a file of their own if the
    split is mapped from the cache and they are many."""
    size, cached = len(index) * split.images[0].nbytes, split.file
    if cached is None or cached.parent.parent != cache.folder() or size < cache.threshold():
        return split.rows(index)
    whole = cached.parent.name
    chosen = hashlib.sha256(index.numpy().tobytes()).hexdigest()[:16]
    images = split.images.numpy()

    def write(folder: Path) -> tuple[dict[str, pixels.Shape], dict[str, Any]]:
        shape = (len(index), *split.images.shape[1:])
        file = cache.ArrayFile(folder, "part", shape)
        for row in index.tolist():
            file.append(images[row])
        file.array()
        return {"part": shape}, {}

    name = f"{whole}-{cached.stem}-{chosen}"
    label = f"a part of {whole.rpartition('-')[0]}"
    if (entry := cache.find(name) or _kept(name, label, size, write)) is None:
        return split.rows(index)
    labels = None if split.labels is None else split.labels[index]
    return Split(_tensor(entry, "part"), labels, file=entry.file("part"))


def _kept(
    name: str,
    label: str,
    size: int,
    write: Callable[[Path], tuple[Mapping[str, pixels.Shape], Mapping[str, Any]]],
) -> cache.Entry | None:
    """The entry; None if it cannot be written, which is told once."""
    failed = os.environ.get(_FAILED, "").split()
    if name in failed:
        return None
    try:
        return cache.made(
            name, size, write, lambda: _say(f"waiting for another process that decodes {label}")
        )
    except OSError as error:
        os.environ[_FAILED] = " ".join([*failed, name])
        _say(
            f"note: {cache.folder()}: cannot be written ({error}), so every process holds the "
            f"images of {label} in memory ({size_text(size)}); make room, or set BENCH_CACHE "
            "to another folder"
        )
    return None


def _in_memory(contents: Contents) -> Decoded:
    train, test = _decode(contents, lambda name: pixels.InMemory)
    mean, std = contents.moments or pixels.moments(train)
    return Decoded(
        Split.from_arrays(train, contents.train.labels),
        Split.from_arrays(test, contents.test.labels),
        contents.classes,
        mean,
        std,
    )


def _write(folder: Path, contents: Contents) -> tuple[dict[str, pixels.Shape], dict[str, Any]]:
    """Decode into files of an entry."""
    train, test = _decode(contents, lambda name: lambda shape: cache.ArrayFile(folder, name, shape))
    mean, std = contents.moments or pixels.moments(train)
    labels = {
        name: None if part.labels is None else part.labels.tolist()
        for name, part in (("train", contents.train), ("test", contents.test))
    }
    facts = {"classes": contents.classes, "mean": mean, "std": std, "labels": labels}
    return {"train": train.shape, "test": test.shape}, facts


def _decode(
    contents: Contents, store: Callable[[str], Callable[[pixels.Shape], pixels.Store]]
) -> tuple[pixels.Bytes, pixels.Bytes]:
    """The images of both splits, of as many channels."""
    stacks = []
    for name, part in (("train", contents.train), ("test", contents.test)):
        stack = pixels.Stack(part.count, contents.channels, store(name))
        for image, place in part.images():
            stack.add(image, place)
        stacks.append(stack)
    train, test = stacks
    if train.channels != test.channels:
        train.widen()
        test.widen()
    return train.array(), test.array()


def _mapped(entry: cache.Entry) -> Decoded:
    facts = entry.facts

    def split(name: str) -> Split:
        labels = facts["labels"][name]
        wide = None if labels is None else torch.tensor(labels, dtype=torch.int64)
        return Split(_tensor(entry, name), wide, file=entry.file(name))

    classes, mean, std = (tuple(facts[key]) for key in ("classes", "mean", "std"))
    return Decoded(split("train"), split("test"), classes, mean, std)


def _tensor(entry: cache.Entry, name: str) -> Tensor:
    with warnings.catch_warnings():  # of arrays that cannot be written
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(entry.arrays[name])


def _size(contents: Contents) -> int:
    """About how many bytes the images have: as if they were all like the first ones."""
    parts = (contents.train, contents.test)
    firsts = [part.first() for part in parts]
    colour = any(first.ndim == 3 for first in firsts)
    sizes: Iterable[int] = (
        part.count * first.shape[0] * first.shape[1]
        for part, first in zip(parts, firsts, strict=True)
    )
    return sum(sizes) * (contents.channels or (3 if colour else 1))


def _state(file: Path) -> str:
    try:
        found = file.stat()
    except OSError:  # which decoding will tell
        return "gone"
    return f"{found.st_size} {found.st_mtime_ns}"


def _ends(file: Path) -> bytes:
    """The beginning and the end of a file."""
    try:
        with file.open("rb") as stream:
            head = stream.read(_ENDS)
            stream.seek(-min(_ENDS, os.fstat(stream.fileno()).st_size), os.SEEK_END)
            return head + stream.read()
    except OSError:
        return b""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
