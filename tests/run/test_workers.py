"""`--workers auto`: cores, trainings and memory decide; the estimate of memory holds."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

import arches
from bench.cli import main
from bench.plan.cell import Cell
from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.run import workers
from bench.run.networks import build_network
from bench.run.place import Place, load_dataset
from bench.suite.load import shipped_suites

Tiny = Callable[..., Path]
PLACE = Place(Path(), Path(), "cpu")
CPU = torch.device("cpu")


@pytest.fixture
def quickstart() -> list[Cell]:
    return list(expand(read_suite(str(shipped_suites()["quickstart"]))).cells)


@pytest.mark.parametrize(
    ("cores", "gib", "count", "reason"),
    [
        (2, 100, 2, "2 cores"),
        (64, 100, 4, "4 trainings"),
        (64, 3, 2, "1.0 GiB each, 3.0 GiB free"),
        (64, 0.1, 1, "GiB each, 0.1 GiB free"),
        (1, 100, 1, "1 cores"),
    ],
)
def test_the_tightest_limit_decides(
    cores: int,
    gib: float,
    count: int,
    reason: str,
    quickstart: list[Cell],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: cores)
    monkeypatch.setattr(workers, "free_memory", lambda device: gib * workers.GIB)
    found = workers.choose(quickstart, PLACE)
    assert found.count == count
    assert reason in found.reason


@pytest.mark.parametrize(
    ("gib", "count", "reason"),
    [
        (3, 6, "0.8 GiB each, 2.0 GiB free on each of 3 GPUs"),
        (100, 24, "at most 8 on a GPU"),
        (0.1, 3, "free on each of 3 GPUs"),
    ],
)
def test_several_gpus_have_room_for_more(
    gib: float, count: int, reason: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fullest decides how many each has."""
    suite = tiny(("seeds: [0]", f"seeds: {list(range(99))}"))
    free = {0: gib, 2: max(0.1, gib - 1), 3: gib}
    monkeypatch.setattr(workers, "cores", lambda: 64)
    monkeypatch.setattr(
        workers, "free_memory", lambda device: free.get(device.index, 99) * workers.GIB
    )
    cells = expand(read_suite(str(suite))).cells
    found = workers.choose(cells, Place(Path(), suite.parent, "cuda:0", gpus=(0, 2, 3)))
    assert (found.count, reason in found.reason) == (count, True), found.reason


@pytest.mark.parametrize(
    ("gpu", "main", "count", "reason"),
    [
        (100, 100, 4, "4 trainings"),
        (2.5, 100, 2, "0.9 GiB each, 2.5 GiB free"),
        (100, 5, 2, "2.0 GiB of main memory each, 5.0 GiB free"),
    ],
)
def test_beside_a_gpu_main_memory_counts_too(
    gpu: float,
    main: float,
    count: int,
    reason: str,
    quickstart: list[Cell],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = {"cuda": gpu * workers.GIB, "cpu": main * workers.GIB}
    monkeypatch.setattr(workers, "cores", lambda: 64)
    monkeypatch.setattr(workers, "free_memory", lambda device: free[device.type])
    found = workers.choose(quickstart, Place(Path(), Path(), "cuda"))
    assert found.count == count
    assert reason in found.reason


def test_a_captured_step_keeps_what_it_needs_for_itself(quickstart: list[Cell]) -> None:
    """Validation and a last, smaller batch have theirs beside it."""
    training = quickstart[0].training
    training = training.settled(training.recipe.model_copy(update={"batch_size": 4096}))
    dataset = load_dataset(training, PLACE)
    network = build_network(training, dataset)
    cost = arches.estimate(network, 28, dataset.channels)
    taken = 2 * training.recipe.batch_size * cost.saved_bytes
    estimate = workers.memory(training, network, dataset, "cuda") - workers.PROCESS["cuda"]
    assert estimate > taken


def test_a_batch_is_never_larger_than_the_set(quickstart: list[Cell]) -> None:
    training = quickstart[0].training
    dataset = load_dataset(training, PLACE)
    network = build_network(training, dataset)

    def estimate(batch_size: int) -> float:
        recipe = training.recipe.model_copy(update={"batch_size": batch_size})
        return workers.memory(training.settled(recipe), network, dataset, "cpu")

    assert estimate(1000) < estimate(4000) == estimate(100_000)


def test_images_that_all_processes_map_do_not_count_for_each(quickstart: list[Cell]) -> None:
    training = quickstart[0].training
    plain = load_dataset(training, PLACE)
    splits = {name: getattr(plain, name) for name in ("train", "test")}
    mapped = replace(plain, **{n: replace(s, file=Path("some")) for n, s in splits.items()})
    network = build_network(training, plain)
    train, test = (split.images.nbytes for split in splits.values())
    of = partial(workers.memory, training, network)
    assert of(plain, "cpu") - of(mapped, "cpu") == train + test
    # A GPU holds the training images, if they fit.
    assert of(plain, "cuda") - of(mapped, "cuda", free=2 * train) == test
    assert of(plain, "cuda") - of(mapped, "cuda", free=2 * train - 2) == train + test


def test_a_network_that_cannot_be_built_runs_alone(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 8)
    with open("tiny_nets.py", "a", encoding="utf-8") as stream:
        stream.write("def broken(in_chans, num_classes):\n    raise RuntimeError('no')\n")
    suite = tiny(("linear]", "broken]"), ("seeds: [0]", "seeds: [0, 1, 2]"))
    cells = expand(read_suite(str(suite))).cells
    found = workers.choose(cells, Place(Path(), suite.parent, "cpu"))
    assert found.count == 1
    assert "unknown memory" in found.reason


def test_what_is_free_is_read_from_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < workers.free_memory(CPU) < 2**50
    monkeypatch.setattr(workers, "available", lambda: None)
    assert workers.free_memory(CPU) == psutil.virtual_memory().total / 2


def test_a_run_says_how_many_and_keeps_it(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tiny()), "--workers", "auto"]) == 0
    assert "workers: 1 (1 trainings)" in capsys.readouterr().out
    with sqlite3.connect("runs/tiny/results.sqlite") as db:
        (text,) = db.execute("SELECT provenance FROM sessions").fetchone()
    assert json.loads(text)["workers"] == 1


def test_another_word_is_refused(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", str(tiny()), "--workers", "many"])
    assert caught.value.code == 2
    assert "'many' is neither a whole number nor auto" in capsys.readouterr().err


PEAK = """
import sys
from pathlib import Path
from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.run.place import Place
from bench.run.unit import Unit, execute
cells = expand(read_suite(sys.argv[1])).cells
execute(Unit(cells[0].training, cells[0], cells[1:2], None), Place(Path(), Path(), "cpu"), print)
# Not getrusage's, which on Linux begins with what the parent had.
status = Path("/proc/self/status").read_text()
print(1024 * int(status.partition("VmHWM:")[2].split()[0]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("backbone", "batch"), [("lenet_fc", 32), ("nin_light", 512)])
def test_the_estimate_is_above_what_a_training_takes(
    backbone: str, batch: int, tmp_path: Path
) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        f"name: peak\nseeds: [0]\ndatasets: [fashion-mnist-mini]\nbackbones: [{backbone}]\n"
        f"variants: [td]\nrecipe: {{epochs: 1, batch_size: {batch}}}\nmeasures: [accuracy]\n",
        encoding="utf-8",
    )
    training = expand(read_suite(str(suite))).cells[0].training
    dataset = load_dataset(training, PLACE)
    estimate = workers.memory(training, build_network(training, dataset), dataset, "cpu")
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(suite)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    taken = float(done.stdout.splitlines()[-1])
    print(f"{backbone}: estimated {estimate / 2**30:.2f} GiB, taken {taken / 2**30:.2f} GiB")
    assert taken < estimate < 4 * taken
