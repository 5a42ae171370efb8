"""Networks on trial: can one be built, and does it run? Asked before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import torch

from bench.data.dataset import Dataset
from bench.errors import BenchError, NotInvertibleError, own_line
from bench.models import backbones
from bench.models.logits import check_logits
from bench.models.network import Network
from bench.plan import guard
from bench.plan.cell import Training
from bench.registry import one_line
from bench.run.networks import build_network
from bench.suite.recipe import Recipe


class FaultError(BenchError):
    """A network that cannot be built or does not run; the same text for the same network."""


class Probe:
    """Builds networks. One that is at fault is tried once for each shape of data, and so is one of
    one's own as it is."""

    def __init__(self) -> None:
        self._faults: dict[str, str] = {}  # by `network_of`; empty: none

    def build(self, training: Training, dataset: Dataset) -> Network:
        """The network, on the meta device if it is one of the paper's.

        Raises:
            FaultError: it cannot be built; one line.
        """
        network = network_of(training, dataset)
        if self._faults.get(network):
            raise FaultError(self._faults[network])
        declared = backbones.is_declared(training.backbone.name)
        try:
            # Inversion runs the model it reads, which needs numbers.
            with torch.device("meta" if declared else "cpu"):
                return build_network(training, dataset)
        except NotInvertibleError as error:
            # What fails bottom-up as well is not helped by leaving the inverted ones out.
            fault = self.fault(training, dataset) or guard.not_invertible(error)
        except (Exception, SystemExit) as error:
            if declared and not isinstance(error, BenchError):
                raise
            fault = _said(training, error)
        self._faults[network] = fault
        raise FaultError(fault)

    def fault(self, training: Training, dataset: Dataset) -> str:
        """What is wrong with the bottom-up network of a training, on one line; empty if it can be
        built and gives logits for two images."""
        plain = replace(training, variant="bu")
        network = network_of(plain, dataset)
        if network not in self._faults:
            self._faults[network] = _fault(plain, dataset)
        return self._faults[network]

    def require_sizes(
        self, training: Training, dataset: Dataset, network: Network | None = None
    ) -> None:
        """Make sure that a network takes images of the sizes that it is trained and validated on,
        where these are not that of the test images.

        Raises:
            BenchError: it does not; one line.
        """
        tested = tuple(dataset.test.images.shape[2:])
        sizes = {size: use for size, use in _sizes(training.recipe, dataset) if size != tested}
        if training.weights is not None or not sizes:
            return
        if network is None:
            network = build_network(training, dataset)
        device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
        network.eval()
        for (height, width), (use, remedy) in sizes.items():
            images = torch.zeros(2, dataset.channels, height, width, device=device)
            try:
                with torch.no_grad(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # they are the cells' to tell
                    network.backbone(images)
            except (Exception, SystemExit) as error:
                doing = f"fails on images of {height} x {width} pixels, which it is to be {use} on"
                has = f"test images have {tested[0]} x {tested[1]}: {remedy}"
                raise BenchError(f"{_said(training, error, f'{doing}: ')}; {has}") from error
        network.train()


def _sizes(recipe: Recipe, dataset: Dataset) -> Iterator[tuple[tuple[int, int], tuple[str, str]]]:
    """Height and width of the images that a network is validated and trained on, what they are
    for, and what would give them the size of the test images."""
    height, width = dataset.train.images.shape[2:]
    crop, padded = recipe.augment.crop, recipe.augment.crop_padding > 0
    to_size = f"set augment.crop: {dataset.image_size}"
    if recipe.validation and (crop is None or padded):  # as they are
        remedy = "leave out augment.crop_padding" if padded else to_size
        yield (height, width), ("validated", remedy)
    yield (crop or height, crop or width), ("trained", to_size)


def network_of(training: Training, dataset: Dataset) -> str:
    """What tells networks apart before they are trained: backbone, variant, shape of the data."""
    shape = (dataset.num_classes, *dataset.test.images.shape[1:])
    options = sorted(training.backbone.options.items())
    return repr((training.backbone.name, options, training.variant, shape))


def _fault(training: Training, dataset: Dataset) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are the cells' to tell
        doing = ""
        try:
            network = build_network(training, dataset)
            doing = "the model itself fails on an image: "
            check_logits(network, dataset)
        except (Exception, SystemExit) as error:
            return _said(training, error, doing)
    return ""


def _said(training: Training, error: BaseException, doing: str = "") -> str:
    if isinstance(error, BenchError):
        return str(error)
    name = f"backbone '{training.backbone.name}' ({training.variant})"
    return f"{name}: {doing}{one_line(error)}{own_line(error)}"
