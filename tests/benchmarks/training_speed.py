"""Trainings to compare: a plain PyTorch loop, the bare step, the harness; and their CPU time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import ToTensor

import arches
from bench.data import catalog
from bench.data.dataset import Dataset, Split
from bench.models.network import Network, wrap
from bench.models.predict import predictions
from bench.models.settings import settle
from bench.seeding import seeded
from bench.suite.recipe import Recipe
from bench.train.determinism import numerics
from bench.train.trainer import train

CPU = torch.device("cpu")
BATCH = 128
FULL = Path("/tmp/data")
PAPER = {"precision": "fp32", "channels_last": False}


@dataclass(frozen=True)
class Case:
    """A network and images, as every side trains them."""

    backbone: str
    variant: str
    dataset: Dataset

    def network(self) -> nn.Module:
        torch.manual_seed(0)
        if self.backbone.startswith("timm/"):
            size = self.dataset.image_size
            return arches.invert(
                self.backbone, self.variant, in_chans=1, image_size=size, small_stem=True
            ).train()
        return arches.create(self.backbone, self.variant, in_chans=1).train()


def fashion_mnist(root: Path, images: int | None = None) -> Dataset:
    """All or some images of the full set if it is in that folder, else the embedded ones."""
    full = (root / "FashionMNIST").is_dir()
    options = {"train_samples": images} if full and images else {}
    name = "fashion-mnist" if full else "fashion-mnist-mini"
    return catalog.load(name, root=root, download=False, base=Path(), **options)


def first(dataset: Dataset, count: int) -> Dataset:
    rows = torch.arange(count)
    return Dataset(
        dataset.name, dataset.train.rows(rows), dataset.test, dataset.classes, (0.5,), (0.5,)
    )


class Pictures(TorchDataset[tuple[Tensor, int]]):
    """What torchvision's data sets do: a PIL image of the array, then the transform."""

    def __init__(self, split: Split) -> None:
        assert split.labels is not None
        self.images, self.labels = split.images[:, 0], split.labels
        self.transform = ToTensor()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        image = Image.fromarray(self.images[index].numpy(), mode="L")
        return self.transform(image), int(self.labels[index])


def plain_loop(case: Case) -> Callable[[], None]:
    """The loop of every tutorial: DataLoader, float32, contiguous, SGD; one epoch a call."""
    network = case.network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    loader = DataLoader(Pictures(case.dataset.train), batch_size=BATCH, shuffle=True)

    def epoch() -> None:
        for images, labels in loader:
            loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def bare_steps(case: Case, recipe: Recipe) -> Callable[[], None]:
    """The harness's step without the harness: same precision, layout, optimiser and images."""
    network = case.network()
    settings = settle(recipe, CPU, network)
    network = network.to(memory_format=settings.memory_format)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True
    )
    images, labels = case.dataset.train.images, case.dataset.train.labels
    assert labels is not None
    half = settings.precision == "bf16"

    def epoch() -> None:
        for index in torch.randperm(len(images)).split(BATCH):
            inputs = images[index].float().div_(255.0)
            inputs = inputs.contiguous(memory_format=settings.memory_format)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = F.cross_entropy(network(inputs).float(), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def harness(case: Case, recipe: Recipe) -> Callable[[], None]:
    """`train` of the harness, everything included that it does around an epoch."""
    network = wrap(case.network(), case.dataset, recipe)
    return lambda: void(train(network, case.dataset, recipe, 0, CPU))


def void(_: object) -> None:
    """Nothing of it."""


def recipe(**more: object) -> Recipe:
    given = {"epochs": 1, "batch_size": BATCH, "lr": 0.01, "validation": 0.0}
    return Recipe.model_validate({**given, **more})


def cpu_seconds(sides: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median CPU time of a call of each side, taking turns in one process on one thread."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    with numerics("deterministic", CPU), one_thread():
        for number in range(rounds + 1):
            for name, side in sides.items():
                start = time.process_time()
                side()
                if number:  # the first one sets up
                    times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


class one_thread:  # noqa: N801
    """One CPU thread within."""

    def __enter__(self) -> None:
        self.before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.before)


def accuracies(case: Case, recipe: Recipe, seeds: int) -> Iterator[float]:
    """Test accuracy in percent of a training with each seed."""
    labels = case.dataset.test.labels
    assert labels is not None
    for seed in range(seeds):
        with numerics("deterministic", CPU), seeded(seed):
            network: Network = wrap(
                arches.create(case.backbone, case.variant, in_chans=1), case.dataset, recipe
            )
            train(network, case.dataset, recipe, seed, CPU)
        right = predictions(network, case.dataset.test.images, CPU).eq(labels)
        yield 100 * float(right.double().mean())
