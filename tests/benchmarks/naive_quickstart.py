"""The quickstart as a plain script would do it: one network after the other, nothing shared.

    python tests/benchmarks/naive_quickstart.py SUITE OUT

For every network of the suite the data are read anew, images go one by one through `ToTensor` and
a `DataLoader`, training is in float32 with the loss looked at in every step, and an attack asks
about all images at every step of every repeat, as the paper's script did. What has to be the same
for numbers to be the same is taken from the harness: initialisation, order of the images, learning
rate, random numbers of the attacks, blur, and the measure of efficiency.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.transforms.functional import to_pil_image, to_tensor

from bench.attacks.gaussian_blur import blur_matrix
from bench.attacks.source import KeyedSource
from bench.data.embedded import fashion_mnist_mini
from bench.data.subset import balanced_subset
from bench.measures import efficiency
from bench.measures.base import Context
from bench.models.network import Network
from bench.plan.cell import Training
from bench.plan.check import read_suite
from bench.plan.expand import expand
from bench.run.networks import build_network
from bench.seeding import seeded
from bench.suite.recipe import Augment
from bench.train.optimizer import parameter_groups
from bench.train.schedule import learning_rate
from bench.train.trainer import set_bn_momentum, split

CPU = torch.device("cpu")


class Images(Dataset[tuple[Tensor, int]]):
    """As torchvision's data sets are: PIL images, made a tensor one by one."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        self.images = [to_pil_image(image) for image in pixels]
        self.labels = labels.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return to_tensor(self.images[number]), self.labels[number]


def train(network: Network, images: Images, training: Training) -> None:
    recipe = training.recipe
    assert recipe.augment == Augment(), "the quickstart has none"
    if recipe.bn_momentum is not None:
        set_bn_momentum(network, recipe.bn_momentum)
    index, held_out = split(len(images), recipe.validation, training.seed)
    # The stream from which the harness draws the order of the images.
    order = torch.Generator().manual_seed((training.seed * 1_000_003 + 2 * 7_919) % 2**63)
    optimizer = torch.optim.SGD(
        parameter_groups(network, recipe.weight_decay),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        fused=True,  # the others round differently
    )
    step = 0
    for _ in range(recipe.epochs):
        network.train()
        shuffled = index[torch.randperm(len(index), generator=order)].tolist()
        loader = DataLoader(Subset(images, shuffled), recipe.batch_size)
        running = 0.0
        for batch, labels in loader:
            if len(batch) < 2:
                continue
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(recipe, step, len(loader))
            loss = F.cross_entropy(network.backbone(network.normalize_train(batch)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item()
            step += 1
        predictions(network, Subset(images, held_out.tolist()))


@torch.no_grad()
def predictions(network: nn.Module, images: Dataset[tuple[Tensor, int]]) -> Tensor:
    network.eval()
    return torch.cat([network(batch).argmax(1) for batch, _ in DataLoader(images, 500)])


Candidates = Callable[[Tensor, int], Tensor]


@torch.no_grad()
def attack(
    network: nn.Module, clean: Tensor, labels: Tensor, path: Candidates, steps: int
) -> Tensor:
    """L2 of the first step that fools the network; all images at all steps."""
    l2 = torch.full((len(clean),), math.inf, dtype=torch.float64)
    l2[network(clean).argmax(1) != labels] = 0.0
    for step in range(1, steps + 1):
        tried = path(clean, step)
        wrong = (network(tried).argmax(1) != labels) & l2.isinf()
        l2[wrong] = (tried - clean).flatten(1).double().norm(dim=1)[wrong]
    return l2


def noise(seed: int, repeat: int, index: np.ndarray, steps: int) -> Candidates:
    source = KeyedSource(seed, "additive_gaussian", repeat, index.tolist())
    rows = torch.arange(len(index))

    def path(clean: Tensor, step: int) -> Tensor:
        drawn = source.normal(rows, step, tuple(clean.shape[1:])) / math.sqrt(3)
        return (clean + (step / steps) ** 2 * drawn).clamp(0, 1)

    return path


def blur(steps: int) -> Candidates:
    def path(clean: Tensor, step: int) -> Tensor:
        matrix = blur_matrix(clean.shape[2], step / steps * clean.shape[2]).to(clean)
        return (matrix @ clean @ matrix.T).clamp(0, 1)

    return path


def networks(suite: str) -> Iterator[tuple[Training, list[object]]]:
    """Every training with the options of its measures."""
    plan = expand(read_suite(suite))
    for cell in plan.cells:
        if cell.measure is None:
            of_it = [c for c in plan.cells if c.training is cell.training and c.measure]
            yield cell.training, [c.options for c in of_it]


def measured(training: Training, options: list[object]) -> dict[str, np.ndarray]:
    data = fashion_mnist_mini(Path())
    with seeded(training.seed):
        network = build_network(training, data)
        assert data.train.labels is not None
        assert data.test.labels is not None
        train(network, Images(data.train.images, data.train.labels), training)
    test = Images(data.test.images, data.test.labels)
    found = {"prediction": predictions(network, test).numpy()}
    noisy, blurred = (o for o in options if hasattr(o, "attack"))
    for name, task in (("additive_gaussian", noisy), ("gaussian_blur", blurred)):
        steps = task.attack.options["epsilons"]
        index = balanced_subset(data.test.labels.numpy(), task.samples, task.subset_seed)
        clean = torch.stack([test[number][0] for number in index])
        labels = data.test.labels[torch.from_numpy(index)]
        random = name == "additive_gaussian"
        # A repeat of the blur would be the same, which a careful script knows too.
        paths = [
            noise(training.seed, repeat, index, steps) if random else blur(steps)
            for repeat in range(task.repeats if random else 1)
        ]
        best = torch.stack([attack(network, clean, labels, p, steps) for p in paths]).amin(0)
        found[name] = best.numpy()
    for task in options:
        if isinstance(task, efficiency.Task):  # of the first seed, as the suite has it
            efficiency.run(Context(network, data, CPU, training.seed, None, task))
    return found


def main(suite: str, out: str) -> None:
    found = {
        f"{training.label}/{name}": array
        for training, options in networks(suite)
        for name, array in measured(training, options).items()
    }
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
