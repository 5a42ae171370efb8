"""Kept parts: whole or not there, and gone when the cell is finished."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bench.store import parts

ARRAYS = {"l2": np.array([0.5, np.inf, 0.0]), "hits": np.array([[True, False]])}


def test_a_part_comes_back_as_it_was(tmp_path: Path) -> None:
    parts.keep(tmp_path, "abc", "images 0-2 (3)", ARRAYS)
    files = parts.kept(tmp_path, "abc")
    found = parts.read(files, "images 0-2 (3)")
    assert found is not None
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert parts.read(files, "images 3-5 (3)") is None
    assert parts.kept(tmp_path, "other") == {}


@given(st.data())
def test_a_damaged_part_is_not_taken(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        parts.keep(Path(folder), "abc", "x", ARRAYS)
        (path,) = parts.kept(Path(folder), "abc").values()
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans(), "cut short"):
            content = content[: data.draw(st.integers(0, len(content) - 1))]
        else:
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        assert parts.read(parts.kept(Path(folder), "abc"), "x") is None


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    parts.keep(tmp_path / "run", "abc", "../../../etc/passwd", ARRAYS)
    assert [path.parent for path in tmp_path.rglob("*.safetensors")] == [
        tmp_path / "run" / "parts" / "abc"
    ]


def test_a_finished_cell_has_no_parts(tmp_path: Path) -> None:
    parts.keep(tmp_path, "abc", "x", ARRAYS)
    parts.keep(tmp_path, "abd", "x", ARRAYS)
    parts.drop(tmp_path, "abc")
    parts.drop(tmp_path, "never there")
    assert parts.kept(tmp_path, "abc") == {}
    assert len(parts.kept(tmp_path, "abd")) == 1
