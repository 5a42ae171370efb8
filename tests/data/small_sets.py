"""Builders of small data sets in every format that bench.data reads."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from bench.data.dataset import Dataset, Split
from bench.data.table import SETS

TRAIN, TEST = 20, 10


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def grey(count: int, side: int = 28, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side), np.uint8)


def colour(count: int, side: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def shrink(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the table say that a built-in set has only TRAIN and TEST samples."""
    small = replace(SETS[name].info, train_samples=TRAIN, test_samples=TEST)
    monkeypatch.setitem(SETS, name, replace(SETS[name], info=small))


def write_idx_set(root: Path, folder: str = "MNIST", compressed: bool = False) -> Path:
    """Write TRAIN + TEST images below `root` and return the folder of the files."""
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for stem, count in (("train", TRAIN), ("t10k", TEST)):
        for kind, array in (
            ("images-idx3", grey(count, seed=count)),
            ("labels-idx1", np.arange(count) % 10),
        ):
            data = idx_bytes(array)
            path = raw / f"{stem}-{kind}-ubyte"
            if compressed:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
            else:
                path.write_bytes(data)
    return raw


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "CIFAR10") -> Path:
    """Write a CIFAR-style set and teach torchvision its MD5 sums; return its folder."""
    import torchvision.datasets

    source = getattr(torchvision.datasets, kind)
    classes = 10 if kind == "CIFAR10" else 100
    key, names = ("labels", "label_names") if classes == 10 else ("fine_labels", "fine_label_names")
    folder = root / source.base_folder
    folder.mkdir(parents=True)
    for attribute in ("train_list", "test_list"):
        sums = []
        for seed, (file, _) in enumerate(getattr(source, attribute)):
            data = colour(TEST, seed=seed).transpose(0, 3, 1, 2).reshape(TEST, -1)
            batch = {"data": data, key: [index % classes for index in range(TEST)]}
            (folder / file).write_bytes(pickle.dumps(batch))
            sums.append([file, md5(folder / file)])
        monkeypatch.setattr(source, attribute, sums)
    meta = folder / source.meta["filename"]
    meta.write_bytes(pickle.dumps({names: [f"class {index}" for index in range(classes)]}))
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": md5(meta)})
    return folder


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def write_folder(
    root: Path, images: Sequence[np.ndarray], classes: Sequence[str], test: str = "test"
) -> Path:
    """Write every image to every class of both splits, as PNG."""
    for split in ("train", test):
        for name in classes:
            folder = root / split / name
            folder.mkdir(parents=True)
            for number, image in enumerate(images):
                (folder / f"{number:03}.png").write_bytes(encoded(image))
    return root


def parquet_table(
    images: Sequence[bytes | None],
    labels: Sequence[int | None],
    names: Sequence[str] | None = None,
    columns: tuple[str, str] = ("image", "label"),
) -> pa.Table:
    """Build a table in the Hugging Face image schema."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": each, "path": f"{row}.png"} for row, each in enumerate(images)]
    table = pa.table({columns[0]: pa.array(cells, kind), columns[1]: pa.array(labels, pa.int64())})
    if names is None:
        return table
    features = {
        columns[0]: {"_type": "Image"},
        columns[1]: {"_type": "ClassLabel", "names": list(names)},
    }
    description = json.dumps({"info": {"features": features}})
    return table.replace_schema_metadata({"huggingface": description})


def write_parquet(
    root: Path,
    images: Sequence[np.ndarray],
    labels: Sequence[int],
    names: Sequence[str] | None = ("cat", "dog"),
    test: str = "test",
) -> Path:
    """Write the same rows as train.parquet and as the test split."""
    root.mkdir(parents=True, exist_ok=True)
    table = parquet_table([encoded(image) for image in images], labels, names)
    for split in ("train", test):
        pq.write_table(table, root / f"{split}.parquet")
    return root


def tensors(
    count: int = 6, channels: int = 1, side: int = 8, classes: int = 2, seed: int = 0
) -> Split:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(
        0, 256, (count, channels, side, side), dtype=torch.uint8, generator=generator
    )
    return Split(images, torch.arange(count) % classes)


def toy_dataset(**changes: object) -> Dataset:
    """A valid little data set, with some fields replaced."""
    whole = Dataset("toy", tensors(), tensors(4, seed=1), ("a", "b"), (0.5,), (0.25,))
    return replace(whole, **changes)  # type: ignore[arg-type]
