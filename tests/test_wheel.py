"""What is installed: all code and what it reads, and not the committed results."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("bench", "arches", "suites", "leaderboard")
RESULTS = {"published", "baselines"}  # folders of `leaderboard`


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    words = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = out.glob("*.whl")
    return found


def test_all_code_and_its_files_are_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    left_out = {*RESULTS, "__pycache__"}
    files = [
        path.relative_to(ROOT)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file()
    ]
    wanted = {file.as_posix() for file in files if not left_out & set(file.parts)}
    assert {"arches/support.csv", "suites/quickstart.yaml", "bench/py.typed"} <= wanted
    for name in wanted:
        assert inside[name] == (ROOT / name).read_bytes(), name


def test_results_are_not_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if RESULTS & set(Path(name).parts)]
    assert wheel.stat().st_size < 2**22
