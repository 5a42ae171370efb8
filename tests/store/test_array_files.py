"""Arrays on disk: what was written is what is read, whichever files were read before."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError
from bench.store import files

KINDS = (np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8, np.bool_)
shape = st.lists(st.integers(0, 4), min_size=1, max_size=3).map(tuple)
several = st.dictionaries(
    st.text(min_size=1, max_size=5), st.tuples(st.sampled_from(KINDS), shape), max_size=4
)


def filled(kinds: dict[str, tuple[type, tuple[int, ...]]], seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        name: random.integers(0, 2 if kind is np.bool_ else 100, size).astype(kind)
        for name, (kind, size) in kinds.items()
    }


@given(several)
@settings(max_examples=60, deadline=None)
def test_files_of_one_kind_keep_their_own_values(
    tmp_path_factory: pytest.TempPathFactory, kinds: dict[str, tuple[type, tuple[int, ...]]]
) -> None:
    """The second and third file have the first one's header, and other numbers."""
    folder = tmp_path_factory.mktemp("arrays")
    for seed in range(3):
        written = filled(kinds, seed)
        path = folder / str(seed)
        found = files.read_arrays(path, files.write_arrays(path, written))
        assert set(found) == set(written)
        for name, array in written.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            assert found[name].tobytes() == array.tobytes()


def test_a_header_that_is_known_says_nothing_of_a_file_of_another_length(tmp_path: Path) -> None:
    path = tmp_path / "a"
    sha256 = files.write_arrays(path, {"l2": np.arange(5.0)})
    for _ in range(2):
        assert files.read_arrays(path, sha256)["l2"].tolist() == [0, 1, 2, 3, 4]
    content = path.read_bytes()
    for wrong in (content[:-8], content + b"12345678", content[:5], b"", b"\xff" * 16):
        path.write_bytes(wrong)
        with pytest.raises(BenchError, match="damaged"):
            files.read_arrays(path, sha256)
        # Not what safetensors wrote, although the checksum fits.
        with pytest.raises(BenchError, match="not a readable safetensors file"):
            files.read_arrays(path, hashlib.sha256(wrong).hexdigest())
