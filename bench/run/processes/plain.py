"""Plain data as bytes and back: JSON with a frame around it, for what is bytes already.

What crosses process borders is data and never code: reading it builds numbers, text, lists and the
few types below, and imports nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path, PurePath
from typing import Any

from bench.errors import BenchError

_MARK = "$"
_SIZE = 8  # bytes of a length

_READ: dict[str, Callable[[Any], Any]] = {
    "path": Path,
    "tuple": lambda value: tuple(map(from_plain, value)),
    "set": lambda value: set(map(from_plain, value)),
    "map": lambda value: {from_plain(key): from_plain(item) for key, item in value},
    "bytes": base64.b64decode,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
}


def to_plain(value: object) -> Any:
    """What JSON can hold of plain data: all that YAML gives, tuples and paths.

    Raises:
        BenchError: something else, as only a plugin can have made it.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        if _MARK not in value and all(isinstance(key, str) for key in value):
            return {key: to_plain(item) for key, item in value.items()}
        return {_MARK: "map", "of": [[to_plain(k), to_plain(v)] for k, v in value.items()]}
    kind, content = _marked(value)
    return {_MARK: kind, "of": content}


def _marked(value: object) -> tuple[str, Any]:
    if isinstance(value, PurePath):
        return "path", str(value)
    if isinstance(value, tuple):
        return "tuple", [to_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return "set", [to_plain(item) for item in value]
    if isinstance(value, bytes):
        return "bytes", base64.b64encode(value).decode()
    if isinstance(value, date):  # a datetime is one too
        return ("datetime" if isinstance(value, datetime) else "date"), value.isoformat()
    raise BenchError(f"{type(value).__name__} {value!r} cannot be sent to a worker")


def from_plain(value: Any) -> Any:
    """What `to_plain` was given."""
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if isinstance(value, dict):
        if _MARK in value:
            return _READ[value[_MARK]](value["of"])
        return {key: from_plain(item) for key, item in value.items()}
    return value


def framed(head: object, blobs: Sequence[bytes] = ()) -> bytes:
    """A head of plain data, and blobs behind it."""
    text = json.dumps([to_plain(head), [len(blob) for blob in blobs]]).encode()
    return b"".join([len(text).to_bytes(_SIZE, "little"), text, *blobs])


def unframed(data: bytes) -> tuple[Any, list[bytes]]:
    """The head and the blobs.

    Raises:
        BenchError: these are not the bytes of a frame.
    """
    start = _SIZE + int.from_bytes(data[:_SIZE], "little")
    try:
        head, sizes = json.loads(data[_SIZE:start])
        found = from_plain(head)
    except (ValueError, TypeError, KeyError) as error:
        raise BenchError(f"a message of a worker cannot be read: {error}") from None
    blobs = []
    for size in sizes:
        blobs.append(data[start : start + size])
        start += size
    if start != len(data):
        raise BenchError(f"a message of a worker has {len(data)} bytes instead of {start}")
    return found, blobs
