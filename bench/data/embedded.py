"""The data set inside the package: a balanced draw from Fashion-MNIST, for runs without files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.data.dataset import Dataset, Split
from bench.data.table import SETS
from bench.errors import DataError

FOLDER = Path(__file__).parent / "mini"
SIDE = 28
COLUMNS = 50
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Of the decoded pixels, so that redrawing with another zlib (other bytes, same images) agrees.
SHA256 = {
    "train": "6c1a15bd6c9beccbe05fcf508788b0562ece3fcde4501bf1b6241c2f26495554",
    "test": "bae6abf2d3a5810df9dd9e45e5a3ad1deaf7a3a36898a8d6982212c7a4c135dc",
}


def fashion_mnist_mini(root: Path, *, download: bool = False) -> Dataset:
    """Return 4,000 training and 1,000 test images of 28 x 28 grey pixels, ten classes.

    Both splits are class-balanced in any prefix: sample i is of class i mod 10. The statistics are
    those of the full Fashion-MNIST. `root` and `download` are not needed.

    Raises:
        DataError: the package's own file is missing or was altered.
    """
    info = SETS["fashion-mnist-mini"].info
    train, test = (_split(part) for part in ("train", "test"))
    return Dataset("fashion-mnist-mini", train, test, CLASSES, info.mean, info.std, info.foreground)


def mosaic_path(folder: Path, part: str) -> Path:
    """Return where the images of `part` ("train" or "test") lie in `folder`."""
    return folder / f"fashion-mnist-mini-{part}.png"


def to_mosaic(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Lay N x 28 x 28 images out row by row, 50 a row, as one picture."""
    rows = len(images) // COLUMNS
    tiles = images.reshape(rows, COLUMNS, SIDE, SIDE).transpose(0, 2, 1, 3)
    return tiles.reshape(rows * SIDE, COLUMNS * SIDE)


def from_mosaic(mosaic: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Undo `to_mosaic`: return the N x 28 x 28 images, contiguous."""
    rows = len(mosaic) // SIDE
    tiles = mosaic.reshape(rows, SIDE, COLUMNS, SIDE).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles).reshape(rows * COLUMNS, SIDE, SIDE)


def digest(mosaic: npt.NDArray[np.uint8]) -> str:
    """Return the hexadecimal SHA-256 of the pixels."""
    return hashlib.sha256(mosaic.tobytes()).hexdigest()


def _split(part: str) -> Split:
    path = mosaic_path(FOLDER, part)
    try:
        with Image.open(path) as picture:
            mosaic = np.array(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); reinstall topdown-bench") from error
    if digest(mosaic) != SHA256[part]:
        raise DataError(f"{path}: checksum mismatch, the file was altered; reinstall topdown-bench")
    images = from_mosaic(mosaic)[:, None]
    return Split.from_arrays(images, np.arange(len(images)) % len(CLASSES))
