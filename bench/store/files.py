"""Files that are either whole or not there: written aside, synced, renamed, with a checksum."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

PART = ".part"
LOGS = "logs"
# Where `write_whole` writes in a run directory.
_WRITTEN = (
    "*.log",
    "arrays/*.safetensors",
    "weights/*.safetensors",
    "parts/*/*.safetensors",
    "explain/*.png",
    f"{LOGS}/*.jsonl",
)


# What a cell may have a file of.
KINDS = ("weights", "arrays")


def cell_file(identity: str, kind: str) -> Path:
    """Where a cell's `arrays` or `weights` are, relative to the run directory."""
    return Path(kind) / f"{identity}.safetensors"


def cell_log(identity: str) -> str:
    """Where a cell's log is, relative to the run directory."""
    return f"{LOGS}/{identity}.jsonl"


def make_lasting(path: Path) -> None:
    """Have a file, or the entries of a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, or a crash, never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + PART)
    try:
        with aside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)  # on a full disk its room is needed
        raise
    make_lasting(path.parent)  # the rename itself


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """Write arrays as safetensors; return the file's SHA-256."""
    import numpy as np
    from safetensors.numpy import save

    return _write(path, save({name: np.ascontiguousarray(a) for name, a in arrays.items()}))


def write_weights(path: Path, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """Write weights as safetensors with `facts` as metadata; return the file's SHA-256."""
    from safetensors.torch import save

    tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
    return _write(path, save(tensors, {"facts": json.dumps(facts, sort_keys=True)}))


def _write(path: Path, data: bytes) -> str:
    write_whole(path, data)
    return hashlib.sha256(data).hexdigest()


def verified(path: Path | str, sha256: str) -> bytes:
    """The content of `path`.

    Raises:
        BenchError: missing, or not what was written.
    """
    try:
        with open(path, "rb", buffering=0) as stream:
            data = stream.read()
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BenchError(f"{path}: damaged (its checksum is not the recorded one)")
    return data


def read_arrays(path: Path | str, sha256: str) -> dict[str, NDArray[Any]]:
    """Read arrays written by `write_arrays`; they are not to be written into.

    Raises:
        BenchError: missing or damaged.
    """
    import numpy as np

    data = verified(path, sha256)
    head = data[: 8 + int.from_bytes(data[:8], "little")], len(data)
    layout = _LAYOUTS.get(head)
    if layout is None:
        return _loaded(path, data, head)
    return {
        name: np.frombuffer(data, kind, count, start).reshape(shape)
        for name, kind, count, start, shape in layout
    }


_Layout = list[tuple[str, Any, int, int, tuple[int, ...]]]
# Where the arrays are in files of this header and size: a run has thousands of files with the same
# one, and it need be understood once.
_LAYOUTS: dict[tuple[bytes, int], _Layout] = {}
_MOST = 256  # layouts that are remembered


def _loaded(path: Path | str, data: bytes, head: tuple[bytes, int]) -> dict[str, NDArray[Any]]:
    """Read as the library does, which checks everything, and remember where the arrays are."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found: dict[str, NDArray[Any]] = load(data)
    except SafetensorError as error:
        raise BenchError(f"{path}: not a readable safetensors file: {error}") from None
    if all(array.size for array in found.values()):  # of nothing, no bytes can be looked at
        entries = json.loads(head[0][8:])
        if len(_LAYOUTS) >= _MOST:
            _LAYOUTS.clear()
        _LAYOUTS[head] = [
            (name, a.dtype, a.size, len(head[0]) + entries[name]["data_offsets"][0], a.shape)
            for name, a in found.items()
        ]
    return found


def half_written(folder: Path) -> list[Path]:
    """What an interrupted run left half-written, in order.

    Only where a run writes: its directory may hold files of its user, and whole other runs, which
    may be at work.
    """
    found = (path for place in _WRITTEN for path in folder.glob(place + PART))
    return sorted(path for path in found if path.is_file())


def sweep(folder: Path) -> None:
    """Remove what an interrupted run left half-written."""
    for path in half_written(folder):
        path.unlink()
