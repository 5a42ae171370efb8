"""Draw fashion-mnist-mini from the full Fashion-MNIST: `python -m bench.data.draw_mini RAW OUT`.

The draw is a rule rather than a generator's stream: of each class, the images whose
sha256("seed/part/index") is smallest. So it does not depend on any library's version.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.data import idx
from bench.data.embedded import CLASSES, digest, mosaic_path, to_mosaic
from bench.errors import DataError

SEED = "fashion-mnist-mini 1"
PER_CLASS = {"train": 400, "test": 100}
_STEM = {"train": "train", "test": "t10k"}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pictures of both splits; print each one's size and the digest of its pixels."""
    parser = argparse.ArgumentParser(prog="draw_mini", description=__doc__)
    parser.add_argument("raw", type=Path, help="folder of Fashion-MNIST's IDX files (or .gz)")
    parser.add_argument("out", type=Path, help="folder to write the two PNG files to")
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        for part in PER_CLASS:
            _write(arguments.raw, arguments.out, part)
    except DataError as error:
        parser.error(str(error))
    return 0


def _write(raw: Path, out: Path, part: str) -> None:
    images, labels = (
        _read(raw, f"{_STEM[part]}-{kind}-ubyte", dimensions)
        for kind, dimensions in (("images-idx3", 3), ("labels-idx1", 1))
    )
    fewest = int(np.bincount(labels, minlength=len(CLASSES)).min())
    if fewest < PER_CLASS[part] or len(images) != len(labels):
        raise DataError(f"{raw}: not Fashion-MNIST, {PER_CLASS[part]} images a class are needed")
    mosaic = to_mosaic(images[chosen(labels, part)])
    path = mosaic_path(out, part)
    Image.fromarray(mosaic).save(path, "PNG", optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes, {digest(mosaic)}")


def _read(raw: Path, name: str, dimensions: int) -> npt.NDArray[np.uint8]:
    path = idx.find(raw, name)
    if path is None:
        raise DataError(f"no {name} or {name}.gz in {raw}")
    return idx.read(path, dimensions)


def chosen(labels: npt.NDArray[np.uint8], part: str) -> list[int]:
    """Return the indices drawn from `part`, ordered so that sample i is of class i mod 10."""

    def draw(index: int) -> bytes:
        return hashlib.sha256(f"{SEED}/{part}/{index}".encode()).digest()

    per_class = [
        sorted(map(int, np.flatnonzero(labels == label)), key=draw)[: PER_CLASS[part]]
        for label in range(len(CLASSES))
    ]
    return [index for group in zip(*per_class, strict=True) for index in group]


if __name__ == "__main__":
    raise SystemExit(main())
