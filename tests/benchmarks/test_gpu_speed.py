"""What is promised of a GPU: PGD against torchattacks, and four seeds beside each other.

    python -m pytest tests/benchmarks/test_gpu_speed.py -m benchmark -s

Minutes on a data-centre GPU. Wall time: what a GPU does is in nobody's CPU time. Each test prints
its ratio with the GPU's name, and how busy the driver says that it was (extra `gpu`).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mini_fashion import attacked, images
from torch import Tensor, nn
from train_lenet import trained

import arches
from bench.attacks.base import load
from bench.attacks.evaluate import Trial, attack_batch
from bench.data.embedded import fashion_mnist_mini
from bench.models.cudnn import exact
from bench.models.graph import WARM_UP
from bench.models.network import wrap
from bench.models.replay import Replays
from bench.suite.recipe import Recipe
from bench.train.trainer import train

pytest.importorskip("pytest_benchmark")
pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda")
ROOT = Path(__file__).parents[2]
# What is promised.
ATTACK, SEEDS = 3.0, 1.6
STEPS, PIXELS, ROUNDS = 20, 16, 5
# Long enough that the start of processes is a small part of it.
EPOCHS = int(os.environ.get("GPU_SPEED_EPOCHS", "1500"))
SUITE = """\
name: seeds
datasets: [fashion-mnist-mini]
backbones: [nin_light]
variants: [bu]
seeds: {seeds}
recipe: {{epochs: {epochs}, batch_size: 128, lr: 0.05, schedule: one-cycle, bn_momentum: 0.1}}
measures: [accuracy]
"""


@contextmanager
def utilisation() -> Iterator[list[float]]:
    """Percent of the time in which a kernel ran, by the driver; sampled while the block runs."""
    found: list[float] = []
    try:
        import pynvml

        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
        pynvml.nvmlDeviceGetUtilizationRates(gpu)
    except Exception:  # no package, no library, no permission
        yield found
        return
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.2):
            found.append(float(pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def busy(found: list[float]) -> str:
    return f"utilisation {statistics.mean(found):.0f} %" if found else "utilisation unknown"


def network(name: str) -> nn.Module:
    """LeNetFC with its stored weights, or NIN-light after a short training, on the GPU."""
    if name == "lenet_fc":
        return trained().to(CUDA).eval()
    data = fashion_mnist_mini(Path())
    words = {"batch_size": 64, "lr": 0.1, "schedule": "one-cycle", "bn_momentum": 0.1}
    recipe = Recipe.model_validate({**words, "epochs": 10, "precision": "fp32"})
    torch.manual_seed(0)
    made = wrap(arches.create(name, "bu", in_chans=1, num_classes=10), data, recipe)
    train(made, data, recipe, 0, CUDA)
    return made.eval()


def ours(model: nn.Module, clean: Tensor, labels: Tensor, replays: Replays) -> Tensor:
    """As `bench run` has it done: with a fresh check of what was found. There, too, what was
    captured serves all batches, repeats and strengths of an attack."""
    attack = load("pgd")
    given = {"random_start": False, "steps": STEPS, "epsilons": [PIXELS / 255]}
    trial = Trial("pgd", attack, attack.options(given), 0, 1, "min-l2")
    found = attack_batch(model, trial, clean, labels, range(len(clean)), replays)
    return torch.from_numpy(found.l2 < float("inf")).to(CUDA)


def theirs(model: nn.Module, clean: Tensor, labels: Tensor) -> Tensor:
    import torchattacks

    epsilon = PIXELS / 255
    made = torchattacks.PGD(
        model, eps=epsilon, alpha=2.5 * epsilon / STEPS, steps=STEPS, random_start=False
    )
    found = made(clean, labels)
    with torch.no_grad():
        wrong: Tensor = model(found).argmax(1) != labels
    return wrong


def seconds(sides: dict[str, Callable[[], Tensor]]) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Median wall time of each side, taking turns, and what each found."""
    spent: dict[str, list[float]] = {name: [] for name in sides}
    found = {}
    for number in range(ROUNDS + WARM_UP + 1):
        for name, side in sides.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            found[name] = side()
            torch.cuda.synchronize()
            if number >= WARM_UP + 1:  # what the first passes set up is nobody's
                spent[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in spent.items()}, found


@pytest.mark.parametrize("name", ["lenet_fc", "nin_light"])
def test_pgd_against_torchattacks(
    name: str, benchmark: object, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torchattacks")
    model = network(name)
    clean, labels = (x.to(CUDA) for x in attacked(model.cpu(), 1000))
    model.to(CUDA)
    replays = Replays(model, len(clean), CUDA)
    sides = {
        "ours": lambda: ours(model, clean, labels, replays),
        "torchattacks": lambda: theirs(model, clean, labels),
    }
    with warnings.catch_warnings(), exact(), utilisation() as used:
        warnings.simplefilter("ignore")
        spent, found = benchmark.pedantic(seconds, (sides,), rounds=1, iterations=1)  # type: ignore[attr-defined]
    ratio = spent["torchattacks"] / spent["ours"]
    # In other batches sums are rounded otherwise: single images at a boundary may differ.
    same = float((found["ours"] == found["torchattacks"]).float().mean())
    benchmark.extra_info.update(ratio=ratio, same=same)  # type: ignore[attr-defined]
    with capsys.disabled():
        print(
            f"\nPGD-{STEPS} of {name}, {len(clean)} images, {PIXELS}/255, on "
            f"{torch.cuda.get_device_name()}: ours {spent['ours']:.3f} s, torchattacks "
            f"{spent['torchattacks']:.3f} s, ratio {ratio:.2f}; {100 * same:.1f} % the same; "
            + busy(used)
        )
    assert same >= 0.99
    assert ratio >= ATTACK


def run_time(folder: Path, seeds: int) -> tuple[float, list[float]]:
    """Wall seconds of a whole run, and how busy the GPU was meanwhile."""
    suite = folder / f"seeds{seeds}.yaml"
    suite.write_text(SUITE.format(seeds=list(range(seeds)), epochs=EPOCHS))
    # Each in a folder of its own, where no other run has trained the same.
    out = folder / str(seeds) / "run"
    command = [sys.executable, "-m", "bench", "run", str(suite), "--out", str(out), "--quiet"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with utilisation() as used:
        start = time.perf_counter()
        subprocess.run(
            [*command, "--device", "cuda", "--workers", "auto"],
            check=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        return time.perf_counter() - start, used


def test_four_seeds_take_hardly_longer_than_one(
    tmp_path: Path, benchmark: object, capsys: pytest.CaptureFixture[str]
) -> None:
    one, alone = run_time(tmp_path, 1)
    four, together = benchmark.pedantic(run_time, (tmp_path, 4), rounds=1, iterations=1)  # type: ignore[attr-defined]
    benchmark.extra_info.update(ratio=four / one)  # type: ignore[attr-defined]
    with capsys.disabled():
        print(
            f"\nNIN-light, {EPOCHS} epochs of {len(images('train')[0])} images, on "
            f"{torch.cuda.get_device_name()}: one seed {one:.1f} s ({busy(alone)}), four "
            f"{four:.1f} s ({busy(together)}), ratio {four / one:.2f}"
        )
    assert four <= SEEDS * one
