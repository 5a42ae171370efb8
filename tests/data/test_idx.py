"""IDX files, whole and broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sets import grey, idx_bytes

from bench.data import idx
from bench.errors import DataError

WHOLE = idx_bytes(grey(3, side=4))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_reading(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"images{suffix}"
    path.write_bytes(gzip.compress(WHOLE) if suffix else WHOLE)
    array = idx.read(path, 3)
    assert np.array_equal(array, grey(3, side=4))
    assert array.flags.writeable
    assert idx.find(tmp_path, "images") == path


def test_the_plain_file_goes_first(tmp_path: Path) -> None:
    assert idx.find(tmp_path, "images") is None
    for name in ("images.gz", "images"):
        (tmp_path / name).touch()
    assert idx.find(tmp_path, "images") == tmp_path / "images"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an IDX file (it starts with nothing)"),
        (b"\x89PNG\r\n", "not an IDX file (it starts with 89504e47)"),
        (WHOLE[:3], "not an IDX file"),
        (WHOLE[:9], "truncated in its header (9 of 16 bytes)"),
        (WHOLE[:-1], "truncated (63 bytes, its header says 64)"),
        (WHOLE + b"\0", "too long (65 bytes, its header says 64)"),
        (b"\0\0\x0d\x03" + WHOLE[4:], "IDX magic number 00000d03, expected 00000803"),
        (b"\0\0\x08\x01" + WHOLE[4:], "IDX magic number 00000801, expected 00000803"),
        (WHOLE[:4] + b"\xff" * 12, "truncated (16 bytes"),
    ],
)
def test_broken_files(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "train-images"
    path.write_bytes(data)
    with pytest.raises(DataError) as raised:
        idx.read(path, 3)
    assert str(path) in str(raised.value)
    assert message in str(raised.value)


def test_a_missing_file_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            idx.read(path, 3)


damage = st.tuples(
    st.integers(0, len(WHOLE)),
    st.dictionaries(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), max_size=4),
)


def damaged(data: bytes, length: int, changes: dict[int, int]) -> bytes:
    broken = bytearray(data)
    for position, value in changes.items():
        broken[position % len(broken)] = value
    return bytes(broken[:length])


@settings(max_examples=150, deadline=None)
@given(damage, st.sampled_from(["plain", "inside", "outside"]))
def test_any_damage_is_read_or_named(
    tmp_path_factory: pytest.TempPathFactory,
    how: tuple[int, dict[int, int]],
    layer: str,
) -> None:
    """Damage to the file, inside the gzip stream, or of the gzip file itself."""
    path = tmp_path_factory.getbasetemp() / f"damaged{'' if layer == 'plain' else '.gz'}"
    if layer == "outside":
        data = damaged(gzip.compress(WHOLE), *how)
    else:
        data = damaged(WHOLE, *how)
        data = data if layer == "plain" else gzip.compress(data)
    path.write_bytes(data)
    try:
        assert idx.read(path, 3).size == len(WHOLE) - 16
        return
    except DataError as error:
        text = str(error)
    assert str(path) in text
    assert "\n" not in text
