"""A full disk, a folder that cannot be written, a clock that jumps, data that change."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import main
from bench.data.content import key_by_times
from bench.store.database import Store

Tiny = Callable[..., Path]
RUN = Path("runs/tiny")
ROOT = Path(__file__).parents[2]


def bench(*words: str, before: Callable[[], None] | None = None) -> tuple[int, str]:
    """Exit code and what is said, of a process that can be spoilt."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.getcwd()])},
        preexec_fn=before,
    )
    return done.returncode, done.stdout + done.stderr


def rows(run: Path = RUN) -> list[tuple[object, ...]]:
    with sqlite3.connect(run / "results.sqlite") as db:
        return db.execute("SELECT * FROM tidy").fetchall()


def small_files() -> None:
    """No file may grow beyond this: writing then ends as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


def test_a_full_disk_is_one_line_and_the_next_run_carries_on(tiny: Tiny) -> None:
    suite = str(tiny())
    code, said = bench("run", suite, "--quiet", before=small_files)
    assert code == 2, said
    assert "Traceback" not in said
    assert str(RUN) in said
    assert not list(RUN.rglob("*.part"))
    assert main(["run", suite, "--quiet"]) == 0
    found = rows()
    assert main(["run", suite, "--quiet", "--fresh"]) == 0
    assert rows() == found


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
def test_a_full_file_system(tiny: Tiny, tmp_path: Path) -> None:
    suite, place = str(tiny()), tmp_path / "small"
    place.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        code, said = bench("run", suite, "--quiet", "--out", str(place / "run"))
        assert code == 2, said
        assert "Traceback" not in said
        shutil.copytree(place / "run", tmp_path / "moved")  # to where there is room
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert main(["run", suite, "--quiet", "--out", "moved"]) == 0
    assert main(["run", suite, "--quiet"]) == 0
    assert rows(Path("moved")) == rows()


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user to become")
def test_a_folder_that_cannot_be_written(tiny: Tiny, tmp_path: Path) -> None:
    suite = str(tiny())
    assert main(["run", suite, "--quiet"]) == 0

    assert main(["doctor", str(RUN)]) == 0  # here, for nobody may not be able to import it
    for folder in (tmp_path, *tmp_path.parents):  # may be entered, not written
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    code, said = as_nobody(tmp_path, "run", suite)
    assert (code, said.count("\n")) == (2, 1), said
    assert "cannot be used as a run directory" in said
    assert as_nobody(tmp_path, "doctor", str(RUN)) == (0, f"{RUN}: whole\n")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount")
def test_a_full_place_for_temporary_files_is_named(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite, place = str(tiny(("tiny_nets:linear", "wide_net:wide"))), tmp_path / "small"
    Path("wide_net.py").write_text(
        "from torch import nn\n"
        "def wide(in_chans, num_classes):\n"
        "    layers = nn.Linear(144 * in_chans, 512), nn.ReLU(), nn.Linear(512, num_classes)\n"
        "    return nn.Sequential(nn.Flatten(), *layers)\n"
    )
    place.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        monkeypatch.setenv("TMPDIR", str(place))
        code, said = bench("run", suite, "--quiet", "--workers", "2")
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert code == 2, said
    assert said.startswith(f"{place}: cannot be written: No space left on device; make room"), said
    assert "TMPDIR" in said


def as_any_user() -> None:
    """Of root, without its right to read what nobody may; others never had it."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.mark.skipif(sys.platform != "linux", reason="rights of root are taken away as Linux does")
def test_a_neighbour_that_may_not_be_read_is_passed_by(tiny: Tiny) -> None:
    suite = str(tiny())
    assert main(["run", suite, "--quiet", "--out", "runs/colleague"]) == 0
    Path("runs/colleague/weights").chmod(0)
    try:
        code, said = bench("plan", suite, "--no-cost", "--out", "runs/mine", before=as_any_user)
        assert (code, "Traceback" in said) == (0, False), said
        code, said = bench("run", suite, "--out", "runs/mine", before=as_any_user)
        assert code == 0, said
        assert "taken over" not in said
    finally:
        Path("runs/colleague/weights").chmod(0o755)
    assert rows(Path("runs/mine")) == rows(Path("runs/colleague"))


@pytest.mark.skipif(sys.platform != "linux", reason="rights of root are taken away as Linux does")
@pytest.mark.parametrize("words", ["report", "plan suite.yaml --no-cost --out", "doctor", "pack"])
def test_a_run_that_may_not_be_read_is_one_true_line(words: str, tiny: Tiny) -> None:
    suite = tiny()
    RUN.mkdir(parents=True)
    (RUN / "results.sqlite").touch()
    RUN.chmod(0)
    try:
        code, said = bench(*words.split(), str(RUN), before=as_any_user)
    finally:
        RUN.chmod(0o755)
    assert suite.is_file()
    assert (code, said) == (2, f"{RUN}/results.sqlite: cannot be read: Permission denied\n")


@pytest.mark.skipif(sys.platform != "linux", reason="rights of root are taken away as Linux does")
def test_data_that_may_not_be_read_are_planned_and_told(tiny: Tiny) -> None:
    suite = str(tiny(("tiny_sets:blobs", "fashion-mnist"), ("tiny_nets:linear", "lenet_fc")))
    data = Path("data/FashionMNIST")
    data.mkdir(parents=True)
    data.chmod(0)
    try:
        code, said = bench("plan", suite, "--no-cost", "--data", "data", before=as_any_user)
    finally:
        data.chmod(0o755)
    assert (code, "Traceback" in said) == (0, False), said
    assert "dataset 'fashion-mnist': data/FashionMNIST/raw/" in said
    assert "cannot be read: Permission denied" in said


def as_nobody(folder: Path, *words: str) -> tuple[int, str]:
    """In a fork of this process, which has read what nobody may not."""
    with (folder / "said").open("wb") as said:
        child = os.fork()
        if not child:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
            code = 99
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                code = main(words)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), (folder / "said").read_text(encoding="utf-8")


def test_a_clock_that_jumps_changes_no_duration(tiny: Tiny) -> None:
    real, jumps = time.time, iter(range(1, 10**6))
    suite = str(tiny())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real() - 86_400 * next(jumps))
        assert main(["run", suite, "--quiet"]) == 0
    with sqlite3.connect(RUN / "results.sqlite") as db:
        spent = [row[0] for row in db.execute("SELECT seconds FROM cells")]
    assert all(0 <= seconds < 600 for seconds in spent)
    assert main(["doctor", str(RUN)]) == 0


FILE_SET = """
import torch
from pathlib import Path
from tiny_sets import blobs
from bench.data.dataset import Dataset
from dataclasses import replace

def shifted(root, *, download=False):
    found = blobs(root)
    by = int(Path("/FOLDER/by.txt").read_text())
    images = (found.test.images + by).clamp(0, 255).to(torch.uint8)
    return replace(found, test=replace(found.test, images=images))
"""
MASKED = """
import torch
from dataclasses import replace
from pathlib import Path
from tiny_sets import blobs

def masked(root, *, download=False):
    found = blobs(root)
    by = int(Path("/FOLDER/by.txt").read_text())
    masks = torch.arange(144).reshape(12, 12) > 50 + by
    return replace(found, test=replace(found.test, masks=masks.repeat(len(found.test), 1, 1)))
"""
CHANGING = """
from pathlib import Path
def change(context):
    Path("/FOLDER/by.txt").write_text("9")
    from bench.run import place
    place._datasets.clear()
    return {"value": 1}
"""


def with_files(tiny: Tiny, folder: Path, *changes: tuple[str, str]) -> str:
    """A suite on a set whose images depend on a file."""
    for name, text in (("file_set", FILE_SET), ("mask_set", MASKED), ("changing", CHANGING)):
        content = text.replace("/FOLDER", str(folder))
        Path(f"{name}.py").write_text(content, encoding="utf-8")
        sys.modules.pop(name, None)
    Path("by.txt").write_text("0", encoding="utf-8")
    return str(tiny(("tiny_sets:blobs", "file_set:shifted"), *changes))


def test_masks_that_change_between_two_sessions(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = with_files(tiny, tmp_path, ("file_set:shifted", "mask_set:masked"))
    assert main(["run", suite, "--quiet", "--only", "*/train"]) == 0
    Path("by.txt").write_text("5", encoding="utf-8")
    assert main(["run", suite, "--quiet"]) == 2
    assert "its masks or boxes are not those that" in capsys.readouterr().err
    # A run of an earlier version, which noted the images alone.
    store = Store.create_or_open(RUN)
    known = json.loads(store.facts()["contents"])
    alone = {key: one.partition("+")[0] for key, one in known.items()}
    store.set_facts({"contents": json.dumps(alone)})
    store.close()
    assert main(["run", suite, "--quiet"]) == 0


def test_data_that_change_between_two_sessions(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = with_files(tiny, tmp_path)
    assert main(["run", suite, "--quiet", "--only", "*/train"]) == 0
    Path("by.txt").write_text("5", encoding="utf-8")
    assert main(["run", suite, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "its images or labels are not those that" in error
    assert "put the old files back (or seed what a function draws), choose another" in error
    assert main(["report", str(RUN), "--format", "csv"]) == 0
    Path("by.txt").write_text("0", encoding="utf-8")
    assert main(["run", suite, "--quiet"]) == 0
    # Neither is a training of the same name beside it, on other images, taken for this one's.
    Path("by.txt").write_text("5", encoding="utf-8")
    capsys.readouterr()
    assert main(["run", suite, "--out", "runs/other"]) == 0
    assert "taken over" not in capsys.readouterr().out


def test_own_files_that_change_between_two_sessions(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their cells are other ones: that hours of work are done anew is not passed over."""
    from PIL import Image

    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (tmp_path / "own" / place).mkdir(parents=True)
        for number in range(4):
            file = tmp_path / "own" / place / f"{number}.png"
            Image.new("RGB", (12, 12), (60 * number, len(place), 9)).save(file)
    suite = str(tiny(("tiny_sets:blobs", "imagefolder:own")))
    told = "note: dataset 'imagefolder:own': its files are not what they were in the last session"
    other = tmp_path / "own" / "train" / "cat" / "9.png"

    def out(*words: str) -> str:
        assert main([*words, suite]) == 0
        return capsys.readouterr().out

    assert told not in out("plan", "--no-cost") + out("run")
    shutil.copy(file, other)
    assert told in out("plan", "--no-cost")
    # Cells that are only added since are no news of the files.
    other.unlink()
    tiny(("tiny_sets:blobs", "imagefolder:own"), ("seeds: [0]", "seeds: [0, 1]"))
    assert told not in out("plan", "--no-cost")
    shutil.copy(file, other)
    assert told in out("run", "--only", "*/seed0/*")
    other.unlink()
    assert told not in out("run", "--only", "*/seed1/*")
    assert "6 cells: 6 done" in out("plan", "--no-cost")
    by_an_earlier_version = key_by_times(tmp_path / "own", frozenset({".png"}))
    store = Store.create_or_open(RUN)
    store.set_facts({"files": json.dumps({"imagefolder:own": by_an_earlier_version})})
    store.close()
    assert "6 cells: 6 done" in out("plan", "--no-cost")  # as long as they have their cells
    tiny(("tiny_sets:blobs", "imagefolder:own"), ("seeds: [0]", "seeds: [2]"))
    assert "an earlier version knew its images by the times" in out("plan", "--no-cost")


@pytest.mark.parametrize("damage", ["gone", "cut short"])
def test_a_run_that_cannot_begin_keeps_what_is_known_of_damaged_cells(
    damage: str, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = with_files(tiny, tmp_path)
    assert main(["run", suite, "--quiet"]) == 0
    recorded = rows()
    for array in (RUN / "arrays").iterdir():
        if damage == "gone":
            array.unlink()
        else:
            array.write_bytes(array.read_bytes()[:-1])
    Path("by.txt").write_text("5", encoding="utf-8")  # other images
    assert main(["run", suite, "--quiet"]) == 2
    assert "done again" not in capsys.readouterr().err
    assert rows() == recorded
    Path("by.txt").write_text("0", encoding="utf-8")
    assert main(["run", suite, "--quiet"]) == 0
    assert "done again" in capsys.readouterr().err
    assert len(rows()) == len(recorded)
    assert main(["run", suite]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_function_that_draws_without_a_seed_is_advised(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no old files to put back."""
    suite = with_files(tiny, tmp_path, ("file_set:shifted", "drawing:drawn"))
    (tmp_path / "drawing.py").write_text(
        "import dataclasses, torch\n"
        "from tiny_sets import blobs\n"
        "def drawn(root, *, download=False):\n"
        "    found = blobs(root)\n"
        "    images = torch.randint(0, 255, found.train.images.shape).to(torch.uint8)\n"
        "    train = dataclasses.replace(found.train, images=images)\n"
        "    return dataclasses.replace(found, train=train)\n",
        encoding="utf-8",
    )
    assert main(["run", suite, "--quiet", "--workers", "2"]) == 1
    assert "seed what a function draws, and add --retry failed" in capsys.readouterr().err


def test_data_that_change_under_a_run(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = (("- accuracy", "- 'changing:change'\n  - accuracy"), ("seeds: [0]", "seeds: [0, 1]"))
    suite = with_files(tiny, tmp_path, *changes)
    assert main(["run", suite, "--quiet"]) == 1
    assert "its images or labels changed while the run was at work" in capsys.readouterr().err
    assert all("seed1" not in str(row) and row[3] == 0 for row in rows())
