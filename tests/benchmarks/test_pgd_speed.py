"""CPU time of PGD against torchattacks' and foolbox's, in one run on one thread.

    OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/test_pgd_speed.py -m benchmark

About four minutes on a free core. All sides attack the same images of the same network with the
same steps from the image itself, at once, and their network takes gradients of its parameters, as
after training. Ours has it in channels_last, as `bench run` measures such networks, the others as
PyTorch builds it; each tells in the end which images are fooled, and it must be the same ones. The
other side's images are those after its last step, so ours are compared with and without
`active_set`. What the active set saves depends on how many images fall, and how soon: it is
printed for L-infinity 8/255, and promised for 16/255, where nearly all of them fall.
"""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mini_fashion import attacked
from torch import Tensor, nn
from train_lenet import trained

import arches
from bench.attacks import base
from bench.attacks.problem import Problem
from bench.attacks.source import KeyedSource
from bench.data.embedded import fashion_mnist_mini
from bench.models.network import wrap
from bench.suite.recipe import Recipe
from bench.train.trainer import train

pytest.importorskip("pytest_benchmark")
pytest.importorskip("foolbox")
pytest.importorskip("torchattacks")

pytestmark = [pytest.mark.benchmark, pytest.mark.usefixtures("one_thread")]
ROUNDS = 5
# How many times less CPU time than torchattacks and foolbox.
FULL = (1.0, 1.2)
ACTIVE = 3.0
Run = Callable[[], Tensor]


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    """LeNetFC with its stored weights; NIN-light after four epochs, a quarter of a minute."""
    data = fashion_mnist_mini(Path())
    words = {"batch_size": 64, "lr": 0.1, "schedule": "one-cycle", "bn_momentum": 0.1}
    recipe = Recipe.model_validate(
        {**words, "epochs": 4, "channels_last": True, "precision": "bf16"}
    )
    torch.manual_seed(0)
    nin = wrap(arches.create("nin_light", "bu", in_chans=1, num_classes=10), data, recipe)
    train(nin, data, recipe, 0, torch.device("cpu"))
    nin.to(memory_format=torch.contiguous_format)
    found = {"lenet_fc": trained(), "nin_light": nin.backbone.eval()}
    return {name: network.requires_grad_(True) for name, network in found.items()}


def sides(
    network: nn.Module, clean: Tensor, labels: Tensor, epsilon: float, steps: int
) -> dict[str, Run]:
    """Each gives bool n: which images are fooled."""
    import foolbox
    import torchattacks

    step = 2.5 / steps
    laid_out = copy.deepcopy(network).to(memory_format=torch.channels_last)

    def ours(active_set: bool) -> Tensor:
        attack = base.load("pgd")
        options = attack.options(
            {"steps": steps, "rel_stepsize": step, "random_start": False, "active_set": active_set}
        )
        source = KeyedSource(0, "pgd", 0, range(len(clean)))
        problem = Problem(clean, labels, laid_out, source, model=laid_out)
        attack.run(problem, **attack.arguments(options, epsilon))
        return problem.distance.isfinite()

    def with_torchattacks() -> Tensor:
        made = torchattacks.PGD(
            network, eps=epsilon, alpha=step * epsilon, steps=steps, random_start=False
        )
        found = made(clean, labels)
        with torch.no_grad():
            wrong: Tensor = network(found).argmax(1) != labels
        return wrong

    def with_foolbox() -> Tensor:
        model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
        made = foolbox.attacks.LinfPGD(rel_stepsize=step, steps=steps, random_start=False)
        hit: Tensor = made(model, clean, labels, epsilons=epsilon)[2]
        return hit

    return {
        "full": lambda: ours(False),
        "active": lambda: ours(True),
        "torchattacks": with_torchattacks,
        "foolbox": with_foolbox,
    }


def medians(runs: dict[str, Run], rounds: int) -> tuple[dict[str, float], dict[str, Tensor]]:
    """CPU seconds, the sides taking turns, and what each found."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    found = {}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.process_time()
            found[name] = run()
            if number:  # what the first pass sets up is nobody's
                spent[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in spent.items()}, found


@pytest.mark.parametrize(
    ("name", "count", "pixels", "steps", "rounds"),
    [
        ("lenet_fc", 128, 8, 40, ROUNDS),
        ("lenet_fc", 128, 16, 40, ROUNDS),
        ("nin_light", 256, 8, 5, 3),
    ],
)
def test_less_time_for_the_same_images(
    name: str,
    count: int,
    pixels: int,
    steps: int,
    rounds: int,
    networks: dict[str, nn.Module],
    benchmark: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    network = networks[name]
    clean, labels = attacked(network, count)
    runs = sides(network, clean, labels, pixels / 255, steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds, found = benchmark.pedantic(  # type: ignore[attr-defined]
            medians, (runs, rounds), rounds=1, iterations=1
        )
    for hit in found.values():
        assert torch.equal(hit, found["torchattacks"])
    ratios = {
        (mine, its): seconds[its] / seconds[mine]
        for mine in ("full", "active")
        for its in ("torchattacks", "foolbox")
    }
    benchmark.extra_info.update({" / ".join(pair): r for pair, r in ratios.items()})  # type: ignore[attr-defined]
    with capsys.disabled():
        print(
            f"\nPGD-{steps} of {name}, {count} images, {pixels}/255, "
            f"{100 * float(found['full'].float().mean()):.0f} % fooled: "
            + ", ".join(f"{side} {spent:.3f} s" for side, spent in seconds.items())
            + "; ratios: "
            + ", ".join(f"{its} / {mine} {ratio:.2f}" for (mine, its), ratio in ratios.items())
        )
    for its, bar in zip(("torchattacks", "foolbox"), FULL, strict=True):
        assert ratios["full", its] >= bar, its
        if pixels == 16:
            assert ratios["active", its] >= ACTIVE, its
