"""Decoded images in a cache on the disk: the same images, decoded once, whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_sets import colour, encoded, grey, parquet_table, write_folder, write_parquet

from bench.cli import main
from bench.data import catalog
from bench.data.dataset import Dataset
from bench.data.fingerprint import fingerprint
from bench.errors import DataError
from bench.store.database import Store
from bench.store.read import read

CLASSES = ("cat", "dog")
ROOT = Path(__file__).parents[2]
LOAD = """\
import sys, time
from pathlib import Path
from bench.data import catalog
from bench.data.fingerprint import fingerprint
print("ready", flush=True)
sys.stdin.readline()
dataset = catalog.load(sys.argv[1], root=Path())
print(fingerprint(dataset), dataset.train.file is not None)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the entries; whatever has to be decoded gets one, however small."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_CACHE_FROM_MB", "0")
    monkeypatch.setenv("BENCH_CACHE_FAILED", "")
    return tmp_path / "cache" / "decoded"


def load(name: str, **options: Any) -> Dataset:
    return catalog.load(name, root=Path(), **options)


def uncached(name: str, **options: Any) -> Dataset:
    """As it is without a cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE_FROM_MB", "1e9")
        patch.setenv("BENCH_CACHE", "/dev/null/none")
        found = load(name, **options)
    assert found.train.file is None
    return found


def entries(cache: Path) -> list[Path]:
    return [each for each in cache.iterdir() if each.is_dir()]


def same(one: Dataset, other: Dataset) -> bool:
    facts = [(each.name, each.classes, each.mean, each.std) for each in (one, other)]
    return facts[0] == facts[1] and fingerprint(one) == fingerprint(other)


def in_colour(root: Path) -> str:
    return f"imagefolder:{write_folder(root, list(colour(40, side=8)), CLASSES)}"


def in_grey(root: Path) -> str:
    return f"imagefolder:{write_folder(root, list(grey(3, side=8)), CLASSES)}"


def colour_comes_late(root: Path) -> str:
    found = in_grey(root)
    (root / "train" / "dog" / "900.png").write_bytes(encoded(colour(1, side=8)[0]))
    return found


def colour_in_the_test_split(root: Path) -> str:
    found = in_grey(root)
    (root / "test" / "dog" / "900.png").write_bytes(encoded(colour(1, side=8)[0]))
    return found


def parquet(root: Path) -> str:
    return f"parquet:{write_parquet(root, colour(100, side=8), [0, 1] * 50)}"


def parquet_without_test_labels(root: Path) -> str:
    import pyarrow.parquet as pq

    write_parquet(root, grey(4, side=8), [0, 1, 1, 0])
    images = [encoded(each) for each in grey(2, side=8)]
    pq.write_table(parquet_table(images, [-1, -1], CLASSES), root / "test.parquet")
    return f"parquet:{root}"


@pytest.mark.parametrize(
    "write",
    [
        in_colour,
        in_grey,
        colour_comes_late,
        colour_in_the_test_split,
        parquet,
        parquet_without_test_labels,
    ],
)
def test_what_is_cached_is_what_was_decoded(
    write: Callable[[Path], str], cache: Path, tmp_path: Path
) -> None:
    name = write(tmp_path / "own")
    expected = uncached(name)
    for _ in range(2):
        found = load(name)
        assert found.train.file is not None
        assert same(found, expected)
    assert len(entries(cache)) == 1


def test_small_sets_need_no_file(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_CACHE_FROM_MB")
    assert load(in_colour(tmp_path / "own")).train.file is None
    assert not cache.exists()


def large(root: Path, count: int = 2, side: int = 256) -> Path:
    """Images of noise that take their time, in files that are not all read for the key."""
    write_folder(root, list(colour(1, side=side)), CLASSES)
    for first in list(root.rglob("000.png")):
        for number in range(1, count):
            shutil.copy(first, first.with_name(f"{number:03}.png"))
    return root


def test_each_side_of_training_images_is_decoded_once(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"imagefolder:{large(tmp_path / 'own')}"
    sides = [{"train_size": 200}, {}, {"train_size": 180}, {"train_size": 200}]
    shapes = [load(name, image_size=160, **each).train.images.shape[2] for each in sides]
    assert shapes == [200, 160, 180, 200]
    told = [line.partition(" into ")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == [
        "decoding 8 images of imagefolder own at 200 x 200 and 160 x 160 pixels",
        "decoding 8 images of imagefolder own at 160 x 160 pixels",
        "decoding 8 images of imagefolder own at 180 x 180 and 160 x 160 pixels",
    ]


def test_the_second_time_nothing_is_decoded(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = large(tmp_path / "own")
    name = f"imagefolder:{root}"
    before = fingerprint(load(name))
    assert capsys.readouterr().err.startswith("decoding 8 images of imagefolder own into ")
    for file in root.rglob("*.png"):
        # Nobody can decode these any more; size, time, beginning and end are the old ones.
        times, data = file.stat(), bytearray(file.read_bytes())
        middle = len(data) // 2
        data[middle - 9000 : middle + 9000] = bytes(18000)
        file.write_bytes(data)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(DataError, match="cannot be decoded"):
        uncached(name)
    assert fingerprint(load(name)) == before
    assert capsys.readouterr().err == ""


def test_other_images_are_another_entry(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = in_colour(tmp_path / "own")
    before = load(name)
    file = tmp_path / "own" / "train" / "cat" / "001.png"
    file.write_bytes(encoded(colour(1, side=8, seed=7)[0]))
    assert not same(load(name), before)
    assert same(load(name), uncached(name))
    capsys.readouterr()
    assert load(name, image_size=4).image_size == 4
    assert " of imagefolder own at 4 x 4 pixels into " in capsys.readouterr().err
    assert len(entries(cache)) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_of_files_may_be_of_any_bytes(cache: Path, tmp_path: Path) -> None:
    name = in_colour(tmp_path / "own")
    file = next((tmp_path / "own" / "train" / "cat").iterdir())
    file.rename(file.with_name(os.fsdecode(b"caf\xe9.png")))
    found = load(name)
    assert found.train.file is not None
    assert same(found, uncached(name))


def test_the_same_listing_with_other_bytes_is_another_entry(cache: Path, tmp_path: Path) -> None:
    """As of archives that give every file one time."""
    for part, seed in (("one", 0), ("two", 1)):
        images = list(colour(2, side=8, seed=seed))
        root = write_folder(tmp_path / part / "own", images, CLASSES)
        for file in root.rglob("*.png"):
            # Of one size, too: what follows a PNG's end is passed over.
            file.write_bytes(file.read_bytes().ljust(400, b"\0"))
            os.utime(file, (0, 0))
    one, two = (load(f"imagefolder:{tmp_path / part / 'own'}") for part in ("one", "two"))
    assert fingerprint(one) != fingerprint(two)


def truncate(entry: Path) -> None:
    os.truncate(entry / "train.bytes", 100)


def garble(entry: Path) -> None:
    text = (entry / "about.json").read_text(encoding="utf-8")
    (entry / "about.json").write_text(text.replace("[0, ", "[1, ", 1), encoding="utf-8")


def remove(entry: Path) -> None:
    (entry / "test.bytes").unlink()


def empty(entry: Path) -> None:
    (entry / "about.json").write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, garble, remove, empty])
def test_a_damaged_entry_is_made_anew(
    damage: Callable[[Path], None], cache: Path, tmp_path: Path
) -> None:
    name = in_colour(tmp_path / "own")
    expected = fingerprint(load(name))
    (entry,) = entries(cache)
    sizes = {file.name: file.stat().st_size for file in entry.iterdir()}
    damage(entry)
    assert fingerprint(load(name)) == expected
    assert {file.name: file.stat().st_size for file in entry.iterdir()} == sizes


def test_what_is_written_to_images_stays_in_the_process(cache: Path, tmp_path: Path) -> None:
    name = in_colour(tmp_path / "own")
    mine, expected = load(name), uncached(name)
    mine.train.images.zero_()
    assert not mine.train.images.any()
    assert same(load(name), expected)


def test_parts_of_a_mapped_set_are_mapped_too(cache: Path, tmp_path: Path) -> None:
    name = in_colour(tmp_path / "own")
    options = {"train_samples": 30, "test_samples": 9}
    for _ in range(2):
        part = load(name, **options)
        assert part.train.file is not None
        assert part.test.file is not None
        assert same(part, uncached(name, **options))
    assert len(entries(cache)) == 3


def child(script: str, *words: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *words],
        cwd=ROOT,
        env=os.environ | more,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()


def test_two_processes_at_once_decode_once(cache: Path, tmp_path: Path) -> None:
    name = f"imagefolder:{large(tmp_path / 'own', 20)}"
    both = [child(LOAD, name) for _ in range(2)]
    for process in both:
        go(process)
    told = [process.communicate(timeout=120) for process in both]
    expected = f"{fingerprint(uncached(name))} True\n"
    assert [out for out, _ in told] == [expected, expected], told
    assert "".join(err for _, err in told).count("decoding 80 images") == 1, told


@pytest.mark.slow
def test_who_is_killed_while_decoding_leaves_nothing_that_stays(
    cache: Path, tmp_path: Path
) -> None:
    root = large(tmp_path / "own", 100)
    name = f"imagefolder:{root}"
    process = child(LOAD, name)
    go(process)
    until = time.monotonic() + 60
    while not any(file.stat().st_size for file in cache.glob("*.part/train.bytes")):
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (left,) = cache.glob("*.part")
    # Somebody who wants other images clears up as well.
    load(in_grey(tmp_path / "other"))
    assert not left.exists()
    left.mkdir()
    (left / "train.bytes").write_bytes(b"half an image")
    found = load(name)
    assert found.train.file is not None
    assert same(found, uncached(name))
    assert not left.exists()


def test_a_cache_that_cannot_be_written_is_told_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = in_colour(tmp_path / "own")
    (tmp_path / "file").touch()
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file"))
    found = load(name)
    told = capsys.readouterr().err
    assert told.startswith(f"note: {tmp_path / 'file' / 'decoded'}: cannot be written (")
    assert told.count("\n") == 1
    assert "set BENCH_CACHE" in told
    assert found.train.file is None
    assert same(found, uncached(name))
    load(name)
    # Nor do workers, which inherit the environment.
    worker = child(LOAD, name)
    go(worker)
    assert worker.communicate(timeout=60) == (f"{fingerprint(found)} False\n", "")
    assert capsys.readouterr().err == ""


def test_a_disk_that_is_full_leaves_the_images_in_memory(cache: Path, tmp_path: Path) -> None:
    """A limit on the size of files fails in the middle of one, as a full disk does."""
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (9000, 9000))\n"
    name = in_colour(tmp_path / "own")
    process = child(limit + LOAD, name)
    go(process)
    out, err = process.communicate(timeout=60)
    assert out == f"{fingerprint(uncached(name))} False\n", err
    assert "cannot be written ([Errno 27] File too large)" in err
    assert err.count("\n") == 2  # that it decodes, and that it could not
    assert entries(cache) == []


def test_too_little_room_is_told_before_anything_is_written(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert load(in_colour(tmp_path / "own")).train.file is None
    told = capsys.readouterr().err
    assert "KiB needed, 0.977 KiB free" in told
    assert "decoding" not in told


def test_a_corrupt_image_is_named_and_nothing_stays(cache: Path, tmp_path: Path) -> None:
    root = large(tmp_path / "own")
    broken = root / "test" / "dog" / "001.png"
    broken.write_bytes(broken.read_bytes()[:-600])
    with pytest.raises(DataError, match="cannot be decoded") as raised:
        load(f"imagefolder:{root}")
    assert str(raised.value).startswith(f"{broken}: ")
    assert entries(cache) == []


SUITE = """\
name: cached
seeds: [0]
datasets: [{name: "imagefolder:own", train_samples: 60}]
backbones: [lenet_fc]
variants: [bu]
recipe: {epochs: 1, batch_size: 8, lr: 0.05, augment: {flip: 0.5, pca_jitter: 0.1}}
measures:
  - accuracy
  - corruptions: {samples: 0, corruptions: [fog]}
"""


def run_of(folder: Path) -> tuple[Any, ...]:
    """All numbers and predictions of a finished run, and the content of its data."""
    store = Store.open(folder)
    try:
        found = read(store).results
        weights = sorted(file.read_bytes() for file in folder.rglob("*.safetensors"))
        shown = [(row.measure, row.metric, row.value) for row in found.rows]
        return shown, store.facts()["contents"], weights
    finally:
        store.close()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_on_mapped_images_is_the_run_on_images_in_memory(
    workers: int, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "own", list(colour(40, side=28)), CLASSES)
    # The numbers of any number of workers are the same in this mode.
    text = SUITE.replace("epochs: 1", "epochs: 1, mode: deterministic") if workers > 1 else SUITE
    Path("suite.yaml").write_text(text, encoding="utf-8")
    words = ["run", "suite.yaml", "--quiet"]
    assert main([*words, "--workers", str(workers), "--out", "mapped/run"]) == 0
    assert len(entries(cache)) == 2  # all images, and the part that is trained on
    monkeypatch.setenv("BENCH_CACHE_FROM_MB", "64")
    shutil.rmtree(cache)
    assert main([*words, "--out", "plain/run"]) == 0
    assert not cache.exists()
    assert run_of(Path("mapped/run")) == run_of(Path("plain/run"))


def test_a_set_that_cannot_be_decoded_is_tried_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not for each measure and network: of a large set each time takes hours."""
    monkeypatch.chdir(tmp_path)
    root = large(tmp_path / "own")
    (root / "test" / "dog" / "001.png").write_bytes(b"no image")
    text = SUITE.replace("[lenet_fc]", "[lenet_fc, {name: lenet_fc, label: twin}]")
    Path("suite.yaml").write_text(text.replace(", train_samples: 60", ""), encoding="utf-8")
    assert main(["run", "suite.yaml"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in told] == ["decoding", f"{root / 'test/dog/001.png'}:"]


def test_a_part_that_cannot_be_written_is_told_by_the_name_of_its_set(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = in_colour(tmp_path / "own")
    load(name)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    capsys.readouterr()
    assert load(name, train_samples=30).train.file is None
    assert " holds the images of a part of imagefolder_own in memory (" in capsys.readouterr().err


def test_a_threshold_that_is_no_number_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "own", list(colour(40, side=28)), CLASSES)
    Path("suite.yaml").write_text(SUITE, encoding="utf-8")
    for value in ("much", "-1", "nan"):
        monkeypatch.setenv("BENCH_CACHE_FROM_MB", value)
        assert main(["run", "suite.yaml"]) == 2
        told = capsys.readouterr().err
        assert told == f"BENCH_CACHE_FROM_MB='{value}': must be a number of MiB, 0 or more\n"


PEAK = """\
import sys, threading, time
from pathlib import Path
import torch
from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.run.place import Place
from bench.run.unit import Unit, execute
from bench.run.events import CellFinished
def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
peak = before = held()
def watch():
    global peak
    while True:
        peak = max(peak, held())
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
cells = expand(read_suite(sys.argv[1])).cells
def told(event):
    if isinstance(event, CellFinished):
        assert event.outcome.error is None, event.outcome.error
        print(event.cell.title)
unit = Unit(cells[0].training, cells[0], tuple(cells[1:]), None)
execute(unit, Place(Path(), Path(), "cpu"), told)
print(peak - before)
"""
NETS = """\
from torch import nn
def net(channels, classes):
    return nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(16 * channels, classes))
"""
GREAT = """\
name: great
seeds: [0]
datasets: [{{name: "imagefolder:{root}"}}]
backbones: ["nets:net"]
variants: [bu]
recipe:
  epochs: 1
  batch_size: 128
  lr: 0.01
  mean: per_pixel
  augment: {{flip: 0.5, pca_jitter: 0.1}}
measures: [accuracy]
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of a process")
def test_a_set_larger_than_what_a_process_holds(cache: Path, tmp_path: Path) -> None:
    root, side, count = tmp_path / "own", 64, 30_000
    (tmp_path / "one.png").write_bytes(encoded(np.full((side, side, 3), 77, np.uint8)))
    for split, number in (("train", count), ("test", 1000)):
        for name in CLASSES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for image in range(number):
                (folder / f"{image}.png").hardlink_to(tmp_path / "one.png")
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    suite = tmp_path / "great.yaml"
    suite.write_text(GREAT.format(root=root), encoding="utf-8")
    for _ in range(2):  # decoding, and from the cache
        path = os.pathsep.join((str(ROOT), str(tmp_path)))
        process = child(PEAK, str(suite), PYTHONPATH=path, OMP_NUM_THREADS="1")
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        assert out.split()[:2] == ["train", "accuracy"], out
        taken, size = int(out.split()[2]), 2 * count * 3 * side * side
        print(f"{size / 2**20:.0f} MiB of images, {taken / 2**20:.0f} MiB taken")
        assert taken < size / 2


def test_imagenette_is_cached_with_a_side_for_each_split(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from small_sets import TEST, TRAIN, shrink

    from bench.data.torchvision_sets import IMAGENETTE

    shrink(monkeypatch, "imagenette")
    for split, count in (("train", TRAIN), ("val", TEST)):
        for name in IMAGENETTE:
            folder = tmp_path / "imagenette2" / split / name
            folder.mkdir(parents=True)
            for number in range(count // len(IMAGENETTE)):
                image = grey(1, side=20, seed=number)[0]
                (folder / f"{number}.png").write_bytes(encoded(image))
    found = [
        catalog.load("imagenette", root=tmp_path, image_size=8, train_size=10) for _ in range(2)
    ]
    monkeypatch.setenv("BENCH_CACHE_FROM_MB", "64")
    shutil.rmtree(cache)
    plain = catalog.load("imagenette", root=tmp_path, image_size=8, train_size=10)
    assert plain.train.images.shape == (TRAIN, 3, 10, 10)
    assert plain.train.file is None
    assert all(each.train.file is not None and same(each, plain) for each in found)
    assert torch.equal(found[0].test.images, plain.test.images)
