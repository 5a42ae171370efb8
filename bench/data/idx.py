"""Reading IDX files, the format of MNIST and its relatives (yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.errors import DataError

_UNSIGNED_BYTE = 0x08


def find(folder: Path, name: str) -> Path | None:
    """Return `folder/name`, or `folder/name.gz` where only that exists, or None."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def read(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Return the unsigned bytes of an IDX file, plain or gzipped, as a writable array.

    Every length is checked against the header, which torchvision does not do: a file cut short
    would otherwise surface as a numpy error that names no file.

    Raises:
        DataError: unreadable, not IDX, other than `dimensions` dimensions, or a wrong length.
    """
    data = _contents(path)
    header = 4 + 4 * dimensions
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataError(f"{path}: not an IDX file (it starts with {data[:4].hex() or 'nothing'})")
    if data[2] != _UNSIGNED_BYTE or data[3] != dimensions:
        raise DataError(
            f"{path}: IDX magic number {data[:4].hex()}, expected {_magic(dimensions).hex()}"
        )
    if len(data) < header:
        raise DataError(f"{path}: truncated in its header ({len(data)} of {header} bytes)")
    shape = struct.unpack_from(f">{dimensions}I", data, 4)
    expected = header + math.prod(shape)
    if len(data) != expected:
        what = "truncated" if len(data) < expected else "too long"
        raise DataError(f"{path}: {what} ({len(data):,} bytes, its header says {expected:,})")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape).copy()


def _contents(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _magic(dimensions: int) -> bytes:
    return bytes((0, 0, _UNSIGNED_BYTE, dimensions))
