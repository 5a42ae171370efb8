"""One optimisation step: everything on the device, nothing that the host would wait for."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.data.dataset import Split
from bench.errors import BenchError
from bench.models.graph import GraphedStep, Inputs
from bench.models.grouped import computed_apart, grouped
from bench.models.logits import require_tensor
from bench.models.memory import is_out_of_memory, release
from bench.models.network import Network
from bench.models.settings import Settings, autocast
from bench.suite.recipe import Recipe
from bench.train.augment import Draws, apply, colour_axes, draw, on_device
from bench.train.images import Images
from bench.train.optimizer import optimizer

# Whose colour axes are found at once.
_PIXELS = 2**26
IMAGES = "images"  # among a step's inputs, where the images are not on the device


class TrainingMemoryError(BenchError):
    """A batch does not fit into memory; the message says which, and what can be done."""


class Step:
    """Trains a network on one batch after the other.

    It holds the optimiser, the loss scaler, the stream of augmentation's random numbers and the
    training images (uint8, on the device or, where they are too many, on the host).

    A batch that does not fit into memory is done in halves whose gradients add up to the same
    step, in a network without batch normalisation; the statistics of batch normalisation would
    become those of the halves, so there it is refused.
    """

    def __init__(
        self,
        network: Network,
        split: Split,
        recipe: Recipe,
        settings: Settings,
        device: torch.device,
        random: torch.Generator,
        resident: bool | None = None,
    ) -> None:
        assert split.labels is not None  # noqa: S101
        self.network, self.recipe, self.settings = network, recipe, settings
        self.images = Images(split.images, device, resident)
        self.labels = split.labels.to(device)
        self.device, self.random = device, random
        self.parts = 1
        self.axes = self._colour_axes() if recipe.augment.pca_jitter else None
        # CUDA reads the rate on the device, so that a captured step follows the schedule.
        self.lr = torch.tensor(recipe.lr, device=device) if device.type == "cuda" else None
        self.optimizer = optimizer(network, recipe, device, self.lr)
        half = settings.precision == "fp16"
        self.scaler = torch.amp.GradScaler(device.type, enabled=half)
        self.graphed: GraphedStep[Tensor] | None = None
        eager = why_eager(settings, device)
        self.note = eager or ""
        if eager is None:
            self.graphed = GraphedStep(recipe.batch_size, device)

    def __call__(self, index: Tensor, lr: float) -> Tensor:
        """Train on the images with these numbers (int64, at home with the images) at this learning
        rate; return the loss, still on the device.

        Raises:
            TrainingMemoryError: memory runs out, and the batch cannot be divided.
        """
        shape = (len(index), *self.images.shape[1:])
        draws = on_device(draw(self.recipe.augment, shape, self.random), self.device)
        if not self.images.resident:  # a captured step takes them as it takes what is drawn
            draws[IMAGES] = self.images.at(index)
            index = on_device({"index": index}, self.device)["index"]
        if self.lr is not None:
            self.lr.fill_(lr)
        else:
            for group in self.optimizer.param_groups:
                group["lr"] = lr
        while (loss := self._attempt(index, draws)) is None:
            release()
        return loss

    @property
    def loss_scale(self) -> float:
        """What the loss is multiplied by, 1 but for fp16; the host waits for it there."""
        return float(self.scaler.get_scale())

    def facts(self) -> dict[str, Any]:
        """How the steps were done, as plain data."""
        note = self.note or (self.graphed.note if self.graphed else "")
        captured = self.graphed is not None and self.graphed.captured
        facts: dict[str, Any] = {**self.settings.facts(), "cuda_graph": captured}
        if computed_apart(self.settings, self.device) and grouped(self.network):
            facts["grouped_convolutions"] = "fp32"
        if note:
            facts["note"] = note
        if self.parts > 1:
            facts["parts"] = self.parts
        if not self.images.resident:
            facts["images"] = "on the host: too many for the device"
        return facts

    def _attempt(self, index: Tensor, draws: Draws) -> Tensor | None:
        """The loss of a step; None if it has to be tried again in more parts."""
        try:
            if self.graphed is not None:
                return self.graphed(self._update, index, draws)
            return self._update(index, draws)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._divide(len(index), error)
        return None

    def _update(self, index: Tensor, draws: Inputs) -> Tensor:
        """All that the device does in a step."""
        recipe, network = self.recipe, self.network
        self.optimizer.zero_grad(set_to_none=True)
        images = draws[IMAGES] if IMAGES in draws else self.images.at(index)
        inputs = network.normalize_train(images.float().div_(255.0))
        axes = None if self.axes is None else self.axes[index]
        inputs = apply(inputs, recipe.augment, draws, axes)
        inputs = inputs.contiguous(memory_format=self.settings.memory_format)
        labels, losses = self.labels[index], []
        for part, wanted in zip(inputs.chunk(self.parts), labels.chunk(self.parts), strict=True):
            with autocast(self.settings, self.device):
                logits = require_tensor(network.backbone(part), training=True).float()
                loss = F.cross_entropy(logits, wanted, label_smoothing=recipe.label_smoothing)
            if self.parts > 1:
                loss = loss * (len(part) / len(inputs))
            self.scaler.scale(loss).backward()
            losses.append(loss.detach())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return losses[0] if self.parts == 1 else torch.stack(losses).sum()

    def _divide(self, count: int, error: BaseException) -> None:
        """Go on in twice as many parts, if that is the same optimisation."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.graphed is not None:
            self.graphed, self.note = None, "no CUDA graph: the batch is done in parts"
        batch = f"out of memory on {self.device}{held(self.device)} with batch_size {count}"
        if any(isinstance(m, nn.modules.batchnorm._NormBase) for m in self.network.modules()):
            raise TrainingMemoryError(
                f"{batch}; in halves, batch normalisation would see other statistics: "
                "lower batch_size (and lr) in the recipe, or use fewer --workers"
            ) from error
        if self.parts >= count:
            raise TrainingMemoryError(f"{batch}, even image by image") from error
        # Parts are of even size: 12 images in 8 are still pairs, so the last step is to 12.
        self.parts = min(2 * self.parts, count)

    def _colour_axes(self) -> Tensor:
        normalize, images = self.network.normalize_train, self.images.all
        # PyTorch keeps several copies of them, in float32.
        size = max(1, min(500, _PIXELS // images[0].numel()))
        # Made first: small results between large blocks that come and go would fragment memory.
        axes = torch.empty((len(images), images.shape[1], images.shape[1]), device=self.device)
        with torch.no_grad():
            for part, rows in zip(images.split(size), axes.split(size), strict=True):
                inputs = normalize(part.to(self.device).float().div_(255.0))
                rows.copy_(colour_axes(inputs))
        return axes


def why_eager(settings: Settings, device: torch.device) -> str | None:
    """Why a step is not captured as a CUDA graph: None if it is worth a try, empty where nobody
    expects it (on the CPU, in deterministic mode)."""
    if device.type != "cuda" or settings.mode == "deterministic":
        return ""
    if not settings.known_code:
        return "no CUDA graph: code of others may do something else at each step"
    if settings.precision == "fp16":
        return "no CUDA graph: fp16 scales its loss anew"
    return None


def held(device: torch.device) -> str:
    """` (3.2 of 4.0 GiB in use)` for a CUDA device, else nothing."""
    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    return f" ({(total - free) / 2**30:.1f} of {total / 2**30:.1f} GiB in use)"
