"""Identities of own files: folders count by names and contents, not by place or times."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bench.cli import main
from bench.errors import BenchError
from bench.plan.cell import Plan

pytestmark = pytest.mark.usefixtures("briefly_timed")
Planned = Callable[[str], Plan]

SUITE = """\
name: own
seeds: [0]
datasets: ['imagefolder:own']
backbones: [lenet_fc]
measures: [accuracy]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own_images(root: Path, *names: str) -> None:
    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (root / place).mkdir(parents=True)
        for name in names:
            (root / place / name).write_bytes(f"{root} {place}".encode())


def identity_of(planned: Planned, name: str = "own") -> str:
    return planned(SUITE.replace("own", name)).cells[0].identity


def test_own_data_count_by_content_not_by_place(here: Path, planned: Planned) -> None:
    for folder in ("one", "two"):
        (here / folder).mkdir()
        (here / folder / "train.parquet").write_bytes(b"same")
    found = [planned(SUITE.replace("imagefolder:own", f"parquet:{n}")) for n in ("one", "two")]
    assert found[0].cells[0].identity == found[1].cells[0].identity
    assert found[0].cells[0].name != found[1].cells[0].name
    (here / "two" / "train.parquet").write_bytes(b"other")
    other = planned(SUITE.replace("imagefolder:own", "parquet:two"))
    assert other.cells[0].identity != found[0].cells[0].identity


def test_a_copy_of_own_images_is_the_same_data_set(here: Path, planned: Planned) -> None:
    """As git, `cp` or a browser leaves it: with times of its own."""
    own_images(here / "own", "0.png")
    shutil.copytree(here / "own", here / "copy", copy_function=shutil.copyfile)
    for file in (here / "copy").rglob("*.png"):
        os.utime(file, (0, 0))
    assert identity_of(planned) == identity_of(planned, "copy")
    image = here / "copy" / "test" / "dog" / "0.png"
    image.write_bytes(image.read_bytes().swapcase())
    os.utime(image, (0, 0))
    assert identity_of(planned) != identity_of(planned, "copy")


def test_own_images_are_read_once(
    here: Path, planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(here / "cache"))
    own_images(here / "own", "0.png")
    found = identity_of(planned)
    assert not (here / "cache").exists()  # of files this young times do not tell everything
    later = time.time_ns() + 10**10
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert identity_of(planned) == found
    (note,) = (here / "cache" / "folders").iterdir()
    stamp, key = note.read_text().split()
    note.write_text(f"{stamp} {key[::-1]}")
    assert identity_of(planned) != found  # the note is believed, for no file has changed
    note.write_text("damaged")
    assert identity_of(planned) == found
    assert note.read_text().split() == [stamp, key]
    (here / "own" / "train" / "cat" / "0.png").write_bytes(b"edited")
    assert identity_of(planned) != found


def test_a_cache_that_cannot_be_written_is_done_without(
    here: Path, planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "cache").write_text("a file")
    monkeypatch.setenv("BENCH_CACHE", str(here / "cache"))
    later = time.time_ns() + 10**10
    monkeypatch.setattr(time, "time_ns", lambda: later)
    own_images(here / "own", "0.png")
    assert identity_of(planned) == identity_of(planned)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that breaks")
def test_an_own_image_that_cannot_be_read_is_told(here: Path, planned: Planned) -> None:
    own_images(here / "own", "0.png")
    (here / "own" / "train" / "dog" / "1.png").symlink_to("/proc/self/mem")
    with pytest.raises(BenchError, match=r"dog/1\.png: cannot be read \(Input/output error\)"):
        identity_of(planned)


def test_own_images_behind_a_link_count_as_well(here: Path, planned: Planned) -> None:
    """As large sets often lie: on another disk, a split or a class linked to."""
    text = SUITE.replace("'imagefolder:own'", "'imagefolder:one', 'imagefolder:two'")
    for name in ("one", "two"):
        own_images(here / f"{name}-disk", "0.png")
        (here / name).mkdir()
        for split in ("train", "test"):
            (here / name / split).symlink_to(here / f"{name}-disk" / split)
    (here / "two" / "train" / "again").symlink_to(here / "two")  # a circle, which has an end
    first, second = (cell.identity for cell in planned(text).cells if cell.measure is None)
    assert first != second
    (here / "one-disk" / "train" / "cat" / "1.png").write_bytes(b"one more")
    assert planned(text).cells[0].identity != first


@pytest.mark.parametrize("name", [".DS_Store", "train/cat/Thumbs.db", ".cache/0.png", "README.md"])
def test_files_that_are_not_read_as_images_do_not_count(
    name: str, here: Path, planned: Planned
) -> None:
    own_images(here / "own", "0.png", "1.JPG")
    before = identity_of(planned)
    (here / "own" / name).parent.mkdir(exist_ok=True)
    (here / "own" / name).write_bytes(b"left by some program")
    assert identity_of(planned) == before
    (here / "own" / "test" / "dog" / "2.JPG").write_bytes(b"an image")
    assert identity_of(planned) != before


def _cut_class(own: Path) -> None:
    shutil.rmtree(own / "test" / "dog")


def _emptied(own: Path) -> None:
    for file in (own / "train" / "dog").iterdir():
        file.unlink()


def _no_image(own: Path) -> None:
    (own / "train" / "cat" / "0.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_cut_class, "test: has no folder of class 'dog'"),
        (_emptied, "dog: no images"),
        (_no_image, "0.png: cannot be decoded"),
    ],
)
@pytest.mark.parametrize("words", [(), ("--no-cost",)])
def test_a_broken_folder_is_told_where_it_is_planned(
    words: tuple[str, ...],
    damage: Callable[[Path], None],
    said: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With or without the estimate: a run would stop there, with the same words."""
    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (here / "own" / place).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(here / "own" / place / "0.png")
    (here / "suite.yaml").write_text(SUITE.replace("lenet_fc", "lenet_fc, nin_light"))
    assert main(["plan", "suite.yaml", *words]) == 0
    assert str(here / "own") not in capsys.readouterr().out
    damage(here / "own")
    assert main(["plan", "suite.yaml", *words]) == 0
    out = capsys.readouterr().out
    assert out.count(said) == 1
    assert main(["run", "suite.yaml"]) == 2
    (wrong,) = capsys.readouterr().err.splitlines()
    assert said in wrong
