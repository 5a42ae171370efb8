"""What all tests share: a tiny suite that runs in seconds, and the real data if they are there."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from bench import identity
from bench.cli import main
from leaderboard.kept import Kept

TINY = """\
name: tiny
seeds: [0]
datasets: [tiny_sets:blobs]
backbones: [tiny_nets:linear]
variants: [bu]
recipe: {epochs: 2, batch_size: 20, lr: 0.05}
measures:
  - accuracy
  - robustness: {attacks: [{name: gaussian_blur, epsilons: 20}], samples: 20}
"""

SETS = '''
"""Blobs: a bright square in one of four corners; any network learns it at once."""
import torch
from bench.data.dataset import Dataset, Split

def _split(count, seed):
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    images = torch.randint(0, 90, (count, 1, 12, 12), generator=random, dtype=torch.uint8)
    for image, label in zip(images, labels):
        y, x = 6 * (label // 2), 6 * (label % 2)
        image[0, y:y + 6, x:x + 6] += 120
    return Split(images, labels.long())

def blobs(root, *, download=False):
    return Dataset("blobs", _split(160, 1), _split(60, 2), ("a", "b", "c", "d"), (0.4,), (0.3,))
'''

NETS = '''
"""Networks for tests: one that learns, one that cannot be trained, one that diverges."""
from torch import nn

def linear(in_chans, num_classes, side=12):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_chans * side * side, num_classes))

class Broken(nn.Module):
    """Runs, but cannot be trained."""
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.net = linear(in_chans, num_classes)
    def forward(self, x):
        if self.training:
            raise RuntimeError("no such layer")
        return self.net(x)

class Diverging(nn.Module):
    def __init__(self, in_chans, num_classes):
        super().__init__()
        self.net = linear(in_chans, num_classes)
    def forward(self, x):
        return self.net(x) * float("inf")
'''


@pytest.fixture(scope="module", autouse=True)
def little_to_search() -> None:
    """Nothing that collecting has made is ever garbage, nor what the tests of other files have
    loaded, and there are millions of it: a search for garbage in all of that takes half a second,
    and code that frees memory asks for many."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture
def drawn_once(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the folder of a run has not is taken from one of the whole session: pages of different
    tests have many figures in common, and drawing takes longer than all else of a small run."""
    part = Kept.part

    def shared(kept: Kept, depends: Iterable[object], make: Callable[[], bytes]) -> bytes:
        depends = [*depends]
        return part(kept, depends, lambda: part(Kept(drawn), depends, make))

    monkeypatch.setattr(Kept, "part", shared)


@pytest.fixture
def drawn_anew(drawn_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is drawn, where others of their file leave that to `drawn_once`."""
    monkeypatch.undo()


@pytest.fixture
def tiny(tmp_path: Path, drawn_once: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a tiny suite (with replacements) and its plugins into a folder; return the suite."""
    (tmp_path / "tiny_sets.py").write_text(SETS, encoding="utf-8")
    (tmp_path / "tiny_nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    # Other tests' modules of the same name lie in folders beside this one.
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(tmp_path.parent):
            monkeypatch.delitem(sys.modules, name)
    identity.code_fingerprint.cache_clear()

    def write(*changes: tuple[str, str], name: str = "suite.yaml") -> Path:
        text = TINY
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def kept_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def ran(tiny: Callable[..., Path], kept_runs: Path) -> Callable[..., None]:
    """`bench run` of a tiny suite into a folder, for tests of what comes after it. It is made once
    for all tests with the same words and the same files beside the suite, by itself, and copied
    for each; the second run of a test is never a copy of its first."""
    made: Counter[str] = Counter()

    def run(suite: Path, out: Path | str, *words: str) -> None:
        beside = [path for path in sorted(suite.parent.iterdir()) if path.is_file()]
        files = {path.name: path.read_bytes().hex() for path in beside}
        key = identity.digest(suite.name, files, words)
        made[key] += 1
        kept = kept_runs / f"{key}-{made[key]}" / "run"
        if not kept.exists():
            assert main(["run", str(suite), "--out", str(kept), "--quiet", *words]) == 0
        shutil.copytree(kept, out)

    return run


@pytest.fixture
def shared_data() -> Path:
    """The folder with the real sets ($BENCH_SHARED_DATA, else beside the checkout), or skip."""
    chosen = os.environ.get("BENCH_SHARED_DATA")
    folder = Path(chosen) if chosen else Path(__file__).parents[2] / "shared" / "data"
    if not (folder / "FashionMNIST").is_dir():
        pytest.skip("the real data sets are not here")
    return folder


@pytest.fixture(scope="session", autouse=True)
def nothing_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded images go into a folder of this session, and so do locks, lest another run's timing
    makes these tests wait; also those of processes that tests start."""
    # Not a folder of pytest's: names of sockets may not be as long as there.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        Path(folder).chmod(0o1777)  # a test's process may be another user's
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", None)
        yield
