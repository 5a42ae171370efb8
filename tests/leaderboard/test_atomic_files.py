import os
from pathlib import Path

import pytest

from leaderboard.files import write_atomic


def test_writes_text_and_bytes_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    assert write_atomic(path, "± ∞\n") == path
    assert path.read_bytes() == "± ∞\n".encode()
    write_atomic(path, b"\x00\n")
    assert path.read_bytes() == b"\x00\n"
    assert os.listdir(path.parent) == ["c.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_atomic(tmp_path / "page.md", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["page.md"]


def test_files_are_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    other = tmp_path / "plain"
    other.touch()
    assert write_atomic(tmp_path / "ours", "x").stat().st_mode == other.stat().st_mode


def test_half_a_surrogate_pair_does_not_lose_the_report(tmp_path: Path) -> None:
    assert write_atomic(tmp_path / "x", "a\udc80b").read_bytes() == b"a\\udc80b"
