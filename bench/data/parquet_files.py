"""Parquet files of labelled images: which belong to a split, their columns, and what is in them.

Whatever pyarrow raises on a broken file becomes an error that names the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bench.data.imagefolder import TEST_NAMES
from bench.errors import DataError
from bench.registry import one_line

_NAMED = 6  # files that an error names
_COUNTED = re.compile(r"(.*)-(\d+)-of-(\d{1,6})\.parquet", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """The files of one split ("training" or "test"), its columns, and class names if stated."""

    name: str
    files: tuple[Path, ...]
    image: str
    label: str
    classes: tuple[str, ...]

    @property
    def where(self) -> str:
        """How errors name the split as a whole."""
        more = len(self.files) - 1
        return f"{self.files[0]}{f' and {more} more' if more else ''}"

    def labels(self, file: Path) -> npt.NDArray[np.int64]:
        """Return the labels of one file.

        Raises:
            DataError: the file cannot be read, or a label is missing.
        """
        with naming(file):
            column = pq.ParquetFile(file).read(columns=[self.label]).column(0)
            missing = column.is_null().to_numpy()
            if not missing.any():
                return np.asarray(column.to_numpy(), np.int64)
        raise DataError(f"{file}, row {int(missing.argmax())}: no label in '{self.label}'")

    def images(self, file: Path, rows: int = 64) -> Iterator[bytes]:
        """Yield the encoded images of one file, reading so many `rows` at a time.

        Raises:
            DataError: the file cannot be read, or the bytes of an image are missing.
        """
        row = 0
        with naming(file), pq.ParquetFile(file) as source:
            for batch in source.iter_batches(batch_size=rows, columns=[self.image]):
                for value in batch.column(0).to_pylist():
                    encoded = _encoded(value)
                    if encoded is None:
                        raise DataError(f"{file}, row {row}: no image bytes in '{self.image}'")
                    yield encoded
                    row += 1


def parts(path: Path, image: str | None, label: str | None) -> tuple[Part, Part]:
    """Find the training and the test files in a folder and read their schemas.

    `image` and `label` name the columns; None: what the metadata say, else "image" and "label".

    Raises:
        DataError: no files of a split or not all of them, an unreadable one, or columns missing or
            of a wrong type.
    """
    names = sorted(item for item in path.iterdir() if item.suffix == ".parquet")
    train = _matching(names, "train")
    test = next(filter(None, (_matching(names, name) for name in TEST_NAMES)), ())
    if not train:
        raise DataError(_no_train(path, names))
    if not test:
        expected = ", ".join(f"{name}*.parquet" for name in TEST_NAMES)
        raise DataError(f"{path}: no test split (one of {expected})")
    for files in (train, test):
        _require_all(path, files)
    return _part("training", train, image, label), _part("test", test, image, label)


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Turn any error about a file into a DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{file}: cannot be read ({one_line(error)})") from error


def _matching(files: list[Path], split: str) -> tuple[Path, ...]:
    # "train.parquet", "train-00000-of-00002.parquet"; "validation.parquet" is not of "val".
    pattern = re.compile(rf"{split}([^a-z].*)?\.parquet", re.IGNORECASE)
    return tuple(file for file in files if pattern.fullmatch(file.name))


def _no_train(path: Path, names: list[Path]) -> str:
    """That there are no training files, and where they may be."""
    none = f"{path}: no train.parquet or train-*.parquet"
    for below in sorted(item for item in path.iterdir() if item.is_dir()):
        if _matching(sorted(below.glob("*.parquet")), "train"):
            return f"{none}; they are in its folder '{below.name}': write parquet:{below}"
    there = ", ".join(file.name for file in names[:_NAMED])
    return f"{none}, but {there}" if there else none


def _require_all(path: Path, files: tuple[Path, ...]) -> None:
    """Refuse a split of which files are missing, as their names tell: `train-00000-of-00005`.

    Files are often sorted by label, so that whole classes would be missing.
    """
    counted: dict[tuple[str, str], set[int]] = {}
    for file in files:
        if found := _COUNTED.fullmatch(file.name):
            counted.setdefault((found[1], found[3]), set()).add(int(found[2]))
    for (stem, total), there in counted.items():
        missing = sorted({*range(int(total))} - there)
        if missing:
            first = f"{stem}-{missing[0]:0{len(total)}}-of-{total}.parquet"
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise DataError(
                f"{path}: {first} is missing{more} of the {int(total)} files of that split; "
                "fetch them, or rename those that are there to use them alone"
            )


def _part(name: str, files: tuple[Path, ...], image: str | None, label: str | None) -> Part:
    first, *others = (_columns(file, image, label) for file in files)
    for file, columns in zip(files[1:], others, strict=True):
        if columns != first:
            raise DataError(f"{file}: other columns or class names than {files[0]}")
    return Part(name, files, *first)


def _columns(file: Path, image: str | None, label: str | None) -> tuple[str, str, tuple[str, ...]]:
    """Return the names of both columns and those of the classes."""
    with naming(file):
        schema = pq.read_schema(file)
        features = _features(schema.metadata)
        image = image or _featured(features, "Image") or "image"
        label = label or _featured(features, "ClassLabel") or "label"
        for option, column in (("image_column", image), ("label_column", label)):
            if column not in schema.names:
                has = ", ".join(schema.names)
                raise DataError(f"{file}: no column '{column}' (it has {has}); set {option}")
        if not _holds_bytes(schema.field(image).type):
            kind = schema.field(image).type
            raise DataError(f"{file}: column '{image}' is {kind}, not a struct with binary 'bytes'")
        if not pa.types.is_integer(schema.field(label).type):
            raise DataError(f"{file}: column '{label}' is {schema.field(label).type}, not integer")
    return image, label, _names(features.get(label))


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _encoded(value: object) -> bytes | None:
    inner = value.get("bytes") if isinstance(value, dict) else value
    return inner if isinstance(inner, bytes) else None


def _features(metadata: Mapping[bytes, bytes] | None) -> dict[str, object]:
    """Return Hugging Face's description of the columns; empty if there is none to be read."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _featured(features: dict[str, object], kind: str) -> str | None:
    """Return the only column of a kind, or None."""
    found = [
        name
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == kind
    ]
    return found[0] if len(found) == 1 else None


def _names(feature: object) -> tuple[str, ...]:
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()
