"""What is free of main memory, told from the files in which Linux tells it."""

from __future__ import annotations

from pathlib import Path

from bench.models.main_memory import available


def told(folder: Path, **files: str) -> float | None:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return available(folder, folder)


def test_the_machine_or_its_control_group_if_that_has_less(tmp_path: Path) -> None:
    assert told(tmp_path) is None
    assert told(tmp_path, meminfo="MemTotal: 900 kB\nMemAvailable:   500 kB\n") == 500 * 1024
    assert told(tmp_path, memory_current="1000\n", memory_max="max\n") == 500 * 1024
    assert told(tmp_path, memory_max="5000\n") == 4000
    assert available(tmp_path / "none", tmp_path) == 4000


def test_what_a_group_keeps_of_files_is_free(tmp_path: Path) -> None:
    """As after a data set was read: the group is full of pages that the system takes back."""
    stat = "anon 200\nfile 700\nactive_file 300\ninactive_file 400\n"
    assert told(tmp_path, memory_max="5000\n", memory_current="4900\n") == 100
    assert told(tmp_path, memory_stat=stat) == 800


def test_what_is_no_number_says_nothing(tmp_path: Path) -> None:
    files = {"meminfo": "MemAvailable: many kB\n", "memory_max": "?", "memory_current": ""}
    assert told(tmp_path, **files) is None
