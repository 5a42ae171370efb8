"""Finished parts of cells that are still being measured, so that an interrupted one carries on.

A part is one file, `parts/<identity>/<hash of its name>.safetensors`, that ends with its own
checksum: what is damaged or half there is not taken.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.store.files import write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = "parts"
_CHECKSUM = hashlib.sha256().digest_size


def keep(folder: Path, identity: str, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a finished part of a cell into the run directory."""
    import numpy as np
    from safetensors.numpy import save

    data = save({key: np.ascontiguousarray(value) for key, value in arrays.items()}, {"part": name})
    write_whole(_path(folder, identity, name), data + hashlib.sha256(data).digest())


def kept(folder: Path, identity: str) -> dict[str, Path]:
    """The files of a cell's parts, by the stem of the file."""
    return {path.stem: path for path in (folder / FOLDER / identity).glob("*.safetensors")}


def read(files: Mapping[str, Path], name: str) -> dict[str, NDArray[Any]] | None:
    """A part by its name; None if it is not there or damaged."""
    from safetensors.numpy import load

    path = files.get(_stem(name))
    data = None if path is None else _content(path)
    if data is None:
        return None
    found: dict[str, NDArray[Any]] = load(data)
    return found


def _content(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    data, checksum = content[:-_CHECKSUM], content[-_CHECKSUM:]
    return data if hashlib.sha256(data).digest() == checksum else None


def damaged(folder: Path) -> list[Path]:
    """Files of parts that are not what was written."""
    return [
        path for path in sorted((folder / FOLDER).glob("*/*.safetensors")) if _content(path) is None
    ]


def identities(folder: Path) -> set[str]:
    """The cells of which there are parts."""
    return {path.name for path in (folder / FOLDER).glob("*") if path.is_dir()}


def copy(source: Path, target: Path, identity: str) -> None:
    """Copy the parts of a cell that are whole from one run directory into another."""
    for path in kept(source, identity).values():
        if _content(path) is not None:
            write_whole(target / FOLDER / identity / path.name, path.read_bytes())


def drop(folder: Path, identity: str) -> None:
    """Remove a cell's parts, for it is finished."""
    shutil.rmtree(folder / FOLDER / identity, ignore_errors=True)


def drop_all(folder: Path) -> None:
    """Remove the parts of all cells: the run begins anew."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _path(folder: Path, identity: str, name: str) -> Path:
    return folder / FOLDER / identity / f"{_stem(name)}.safetensors"


def _stem(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:20]
