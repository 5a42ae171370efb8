"""The network whose cost is measured: as it was trained, and as it predicts."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.measures.base import Context
from bench.measures.cost.modes import Mode, as_batch, laid_out
from bench.measures.cost.options import Options, Task
from bench.models.deployed import deployed


@dataclass(frozen=True, slots=True)
class Subject:
    """Copies of a network in the layout of a mode, on the device: in training mode as it was
    trained, in eval mode as it is deployed. `shape` is that of an image, C x H x W."""

    options: Options
    mode: Mode
    device: torch.device
    trained: nn.Module
    deployed: nn.Module
    shape: tuple[int, int, int]
    seed: int

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Both, by what they are for."""
        return {"train": self.trained, "inference": self.deployed}

    def images(self, batch: int) -> Tensor:
        """Random images in [0, 1]; values do not change the cost."""
        generator = torch.Generator().manual_seed(self.seed)
        images = torch.rand((batch, *self.shape), generator=generator).to(self.device)
        return as_batch(images, self.mode)


def subject_of(context: Context) -> Subject:
    """The subject of a cell; its network is left as it is."""
    task: Task = context.options
    _, channels, height, width = context.dataset.test.images.shape
    shape = (int(channels), int(height), int(width))
    image = torch.rand(1, *shape, generator=torch.Generator().manual_seed(context.seed))
    folded = deployed(context.network, image.to(context.device))
    # Copies: training mode moves statistics, and a layout would stay.
    trained = copy.deepcopy(context.network).train()
    return Subject(
        task.options,
        task.mode,
        context.device,
        laid_out(trained, task.mode),
        laid_out(folded, task.mode),
        shape,
        context.seed,
    )
