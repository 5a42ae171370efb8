"""Every attack, corruption and heatmap on the pretended device; prints what fails.

    python everything.py

Options are small: what is looked for is a tensor that is left behind, not a result.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import arches
from bench.attacks import base
from bench.attacks.evaluate import Trial, attack_batch
from bench.corruptions.base import NAMES, corrupt
from bench.explain import cam

CUDA = torch.device("cuda")
COUNT = 4
STEPS = ("steps", "max_iter", "repetitions", "max_pixels", "directions", "points")
Trials = Iterator[tuple[str, Callable[[], object]]]


def small(attack: base.Attack) -> dict[str, object]:
    """Options with few steps and one strength, whatever an attack calls them."""
    options = attack.options({})
    given: dict[str, object] = {name: 3 for name in STEPS if isinstance(options.get(name), int)}
    epsilons = options.get("epsilons")
    if isinstance(epsilons, int):
        given["epsilons"] = 10
    elif epsilons:
        given["epsilons"] = list(epsilons)[:1]
    return given


def attacks() -> Trials:
    images = torch.rand(COUNT, 3, 32, 32).to(CUDA)
    network = arches.create("lenet_fc", "td", 3).eval().to(CUDA)
    labels = network(images).detach().argmax(1)
    # AutoAttack asks 5,000 times whatever it is told.
    names = [name for name in base.REGISTRY.entries if name != "autoattack"]
    names += ["foolbox:LinfPGD", "foolbox:L2DeepFoolAttack"]
    names += ["foolbox:L2CarliniWagnerAttack", "foolbox:EADAttack", "foolbox:L0FMNAttack"]
    for name in names:

        def tried(name: str = name) -> None:
            attack = base.load(name)
            trial = Trial(name, attack, attack.options(small(attack)), 0, 2, "min-l2")
            attack_batch(network, trial, images, labels, range(COUNT))

        yield name, tried


def corruptions() -> Trials:
    for channels in (1, 3):
        images = torch.rand(COUNT, channels, 32, 32).to(CUDA)
        for name in NAMES:
            yield f"{name}/{channels}", lambda x=images, n=name: corrupt(x, n, 3, range(COUNT))


def heatmaps() -> Trials:
    images = torch.rand(COUNT, 3, 32, 32).to(CUDA)
    for backbone in ("lenet_fc", "nin_light", "resnet32"):
        for variant in ("bu", "td", "td_uni", "td_rev"):
            try:
                network = arches.create(backbone, variant, 3).eval().to(CUDA)
            except ValueError:  # not every one has them all
                continue
            for method in cam.METHODS:
                yield (
                    f"{backbone} {variant} {method}",
                    lambda n=network, m=method: cam.heatmaps(n, images, method=m, layers="all"),
                )


def main() -> None:
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    done = 0
    for trials in (attacks(), corruptions(), heatmaps()):
        for name, attempt in trials:
            try:
                attempt()
            except Exception as error:
                here = traceback.extract_tb(error.__traceback__)[-1]
                print(f"{name}: {error} ({Path(here.filename).name}:{here.lineno})")
            done += 1
    print(f"{done} done")


if __name__ == "__main__":
    main()
