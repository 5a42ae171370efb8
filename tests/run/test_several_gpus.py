"""`--device cuda:0,2` and `cuda:all`: each worker sees one of these GPUs (pretended ones)."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pretended_machine import PRETENDED, Machine

from bench.cli import main
from bench.commands import run_place
from bench.run.processes.fleet import Fleet

Tiny = Callable[..., Path]
SUITE = """\
name: several
datasets: [{name: fashion-mnist-mini, train_samples: 200, test_samples: 50}]
backbones: [{name: "nets:net"}]
variants: [bu]
seeds: [0, 1, 2]
recipe: {epochs: 1, batch_size: 100, mode: deterministic, precision: fp32}
measures: [accuracy]
"""
# A backbone that tells which GPU its process sees, and waits for the others.
NETS = """\
import os
import time
from pathlib import Path

import torch


def net(channels, classes):
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if gpu.isdigit():  # not the driver, which looks at networks before it starts
        seen = Path(__file__).parent / "seen"
        (seen / f"{gpu} {os.getpid()}").touch()
        until = time.monotonic() + 60
        while len(list(seen.iterdir())) < WAITED and time.monotonic() < until:
            time.sleep(0.05)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * 784, classes))
"""


def machine_with(folder: Path, *gpus: str) -> Machine:
    return Machine(folder, SUITE, PRETENDED_GPUS=",".join(gpus))


def run(
    machine: Machine, *words: str, waited: int = 1, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run with a backbone that waits for so many processes."""
    (machine.folder / "nets.py").write_text(NETS.replace("WAITED", str(waited)))
    return machine.run(*words, **more)


def seen(machine: Machine) -> dict[str, int]:
    """How many processes saw each GPU alone."""
    return dict(Counter(path.name.split()[0] for path in (machine.folder / "seen").iterdir()))


@pytest.mark.slow
def test_workers_spread_over_the_gpus(tmp_path: Path) -> None:
    machine = machine_with(tmp_path, "H", "H", "H")
    done = run(machine, "--device", "cuda:0,2", "--workers", "3", waited=3)
    assert done.returncode == 0, done.stdout + done.stderr
    assert seen(machine) == {"0": 2, "2": 1}
    found = machine.results()
    assert found.provenance["hardware"].startswith("2 x H (16 GiB); ")
    assert len(found.rows) >= 3
    # Another day with one GPU: the same kind of device.
    done = run(machine, "--device", "cuda:1", waited=3)
    assert (done.returncode, "nothing to do" in done.stdout) == (0, True)


@pytest.mark.slow
def test_all_gpus_have_one_worker_each_unless_told(tmp_path: Path) -> None:
    machine = machine_with(tmp_path, "H", "H", "H")
    # Counted among those that this process may see.
    done = run(machine, "--device", "cuda:all", waited=2, CUDA_VISIBLE_DEVICES="2,1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "workers: 2 (one on each of 2 GPUs)" in done.stdout
    assert seen(machine) == {"1": 1, "2": 1}


@pytest.mark.slow
def test_where_fewest_work_the_next_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PRETENDED))  # which the processes have, too
    monkeypatch.setenv("PRETENDED_GPUS", "H,H")
    fleet = Fleet(("0", "1"))
    first, second, third = children = [fleet.take() for _ in range(3)]
    try:
        assert (first.gpu, second.gpu, third.gpu) == ("0", "1", "0")
        for child in (second, first, third):
            fleet.give_back(child)
        assert [fleet.take() for _ in range(3)] == [third, second, first]
    finally:
        fleet.stop()
        for child in children:
            fleet.discard(child)


@pytest.mark.slow
def test_a_gpu_that_does_not_answer_is_left_out(tmp_path: Path) -> None:
    """Else each cell there would fail at once, and so, one after the other, all that is left."""
    machine = machine_with(tmp_path, "H", "H")
    done = run(machine, "--device", "cuda:all", PRETENDED_DEAD="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "note: GPU 1 does not answer and is left out (CUDA error: dev" in done.stderr
    assert seen(machine).keys() == {"0"}
    assert len(machine.results().rows) >= 3


@pytest.mark.slow
def test_without_any_gpu_left_the_run_ends_in_a_line(tmp_path: Path) -> None:
    machine = machine_with(tmp_path, "H", "H", "H")
    done = run(machine, "--device", "cuda:1,2", PRETENDED_DEAD="1,2")
    assert done.returncode == 2, done.stdout + done.stderr
    *_, last = done.stderr.splitlines()
    assert "no GPU answers any more (the last one: CUDA error: device-side" in last
    assert "Traceback" not in done.stderr


def have(gpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PyTorch find a GPU for each letter."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(gpus))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: gpus[number])


@pytest.mark.parametrize(
    ("gpus", "device", "said"),
    [
        ("HTH", "cuda:0,3", "--device cuda:3: this machine has 3 CUDA devices"),
        ("HTH", "cuda:0,1", "different GPUs (H, T), whose timings do not compare"),
        ("HTH", "cuda:all", "different GPUs (H, T), whose timings do not compare"),
        ("HTH", "cuda:0,0", "use auto, cpu, cuda, cuda:N, cuda:N,N or cuda:all"),
        ("HTH", "cuda:0,", "use auto, cpu, cuda, cuda:N, cuda:N,N or cuda:all"),
        ("HTH", "cuda:0,00", "use auto, cpu, cuda, cuda:N, cuda:N,N or cuda:all"),
        ("HTH", "cuda:0,²", "use auto, cpu, cuda, cuda:N, cuda:N,N or cuda:all"),
        ("HTH", "cuda:²", "use auto, cpu, cuda or cuda:N"),
        ("HTH", "cuda:01", "use auto, cpu, cuda or cuda:N"),
        ("HTH", "cpu:all", "use auto, cpu, cuda or cuda:N"),
        ("", "cuda:all", "this machine has 0 CUDA devices"),
        ("", "cuda:0,1", "this machine has 0 CUDA devices"),
    ],
)
def test_wrong_gpus_are_one_line(
    gpus: str,
    device: str,
    said: str,
    tiny: Tiny,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    have(gpus, monkeypatch)
    assert main(["run", str(tiny()), "--device", device, "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert said in error
    assert not Path("out").exists()


def test_all_of_one_gpu_is_that_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    have("H", monkeypatch)
    assert run_place.resolve_devices("cuda:all") == "cuda:0"
    have("HH", monkeypatch)
    assert run_place.resolve_devices("cuda:all") == "cuda:0,1"
    assert run_place.resolve_devices("cuda:1") == "cuda:1"
