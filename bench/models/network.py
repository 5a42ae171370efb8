"""A backbone with its input normalisation inside, so that everybody outside sees [0, 1] images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.suite.recipe import Recipe

# Pixels at a time: PyTorch sums them as numbers of eight bytes.
_SUMMED = 2**22
# From so many pixels on it is worth remembering: every network of a run wants the same mean.
_LARGE = 2**26
_means = WeakIdKeyDictionary()


class Normalization(nn.Module):
    """`(x - mean) / std` for images in [0, 1]; C x 1 x 1 or C x H x W, stored with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise images N x C x H x W."""
        return (images - self.mean) / self.std


class Network(nn.Module):
    """What is trained, attacked and stored: images in [0, 1] in, logits out.

    `normalize` serves test and attacked images; `normalize_train` those of the training set, held
    out for validation or not. They differ where test images have a mean of their own (facts of
    the paper's Imagenette).
    """

    def __init__(
        self, backbone: nn.Module, normalize: Normalization, normalize_train: Normalization
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.normalize = normalize
        # One module under two names would be stored twice: keep it out of the state.
        self._train_normalization = [normalize_train]

    @property
    def normalize_train(self) -> Normalization:
        """Normalisation of training images (before augmentation)."""
        return self._train_normalization[0]

    def forward(self, images: Tensor) -> Tensor:
        """Logits N x num_classes of images N x C x H x W in [0, 1]."""
        logits: Tensor = self.backbone(self.normalize(images))
        return logits


def wrap(backbone: nn.Module, dataset: Dataset, recipe: Recipe) -> Network:
    """Wrap a backbone with the normalisation that the recipe asks for (section 5 of the facts:
    means over the WHOLE official training set, after scaling to [0, 1]).

    Raises:
        BenchError: the per-pixel mean of the training images cannot serve the test images.
    """
    train = _normalization(dataset, recipe, dataset.train.images)
    if recipe.test_mean == "own" and recipe.mean != "none":
        return Network(backbone, _normalization(dataset, recipe, dataset.test.images), train)
    sizes = [tuple(part.images.shape[2:]) for part in (dataset.train, dataset.test)]
    if recipe.mean == "per_pixel" and sizes[0] != sizes[1]:
        raise BenchError(
            f"{dataset.name}: the per-pixel mean of {sizes[0][1]} x {sizes[0][0]} training images "
            f"does not fit {sizes[1][1]} x {sizes[1][0]} test images; set `test_mean: own` or "
            "`mean: per_channel`"
        )
    return Network(backbone, train, train)


def _normalization(dataset: Dataset, recipe: Recipe, images: Tensor) -> Normalization:
    channels = dataset.channels
    mean = torch.zeros(channels, 1, 1)
    if recipe.mean == "per_pixel":
        mean = mean_image(images)
    elif recipe.mean == "per_channel":
        mean = mean_image(images).mean((1, 2), keepdim=True)
    std = torch.ones(channels, 1, 1)
    if recipe.std == "per_channel":
        std = torch.tensor(dataset.std).reshape(channels, 1, 1)
    return Normalization(mean, std)


def mean_image(images: Tensor, chunk: int | None = None) -> Tensor:
    """Mean over N of uint8 images N x C x H x W, in [0, 1], summed exactly; float32 C x H x W.

    `chunk` images are summed at a time, by default some megabytes of them. Of large sets, which
    nobody may change, the mean is found once. On the meta device it is not found at all.
    """
    total = torch.zeros(images.shape[1:], dtype=torch.float64)
    if total.is_meta:
        return total.float()
    known: Tensor | None = _means.get(images)
    if known is None:
        chunk = chunk or max(1, _SUMMED // images[0].numel())
        for start in range(0, len(images), chunk):
            total += images[start : start + chunk].sum(0, dtype=torch.int64).cpu()
        known = (total / (255.0 * len(images))).float()
        if images.numel() >= _LARGE:
            _means[images] = known
    return known.clone()
