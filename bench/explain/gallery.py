"""What there is to draw of a few test images: heatmaps of several networks, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.subset import balanced_subset
from bench.errors import BenchError, UnknownNameError
from bench.explain import localize
from bench.explain.cam import Score, heatmaps
from bench.explain.capture import capturing, undisturbed
from bench.explain.feature_maps import find_layers, frame_of, layer_names
from bench.explain.layout import Layer
from bench.models.predict import as_input, predictions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.data.dataset import Dataset
    from bench.models.network import Network

# So many maps stand beside each other on a page.
MOST_LAYERS = 8
# Images that are looked at first for some that every network gets right, and at least so many.
_POOL, _LEAST_POOL = 20, 200
_BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Test images to draw: their numbers, ascending, and how many of them every network classifies
    correctly (None where the labels are not known)."""

    index: NDArray[np.int64]
    correct: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """What one network shows of N images.

    Attributes:
        maps: by layer in order of depth, float32 N x H x W in [0, 1].
        undefined: by layer, bool N: the map is 0/0.
        sizes: by layer, height and width of the map before it was scaled to the image.
        layers: how many layers there were to choose from.
        predicted: int64 N.
        probability: float64 N, of the predicted class.
    """

    maps: Mapping[str, NDArray[np.float32]]
    undefined: Mapping[str, NDArray[np.bool_]]
    sizes: Mapping[str, tuple[int, int]]
    layers: int
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Heatmaps cut at a threshold against objects: bool N x H x W where they are above it; float64
    N in [0, 1], NaN for 0/0."""

    predicted: NDArray[np.bool_]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def choose(
    networks: Sequence[Network], dataset: Dataset, device: torch.device, count: int, seed: int
) -> Chosen:
    """Draw test images, class-balanced, that all networks classify correctly; others only where
    there are not so many. At first only a part of a large set is looked at."""
    labels = dataset.test.labels
    size = len(dataset.test)
    if labels is None:
        drawn = np.random.default_rng(seed).permutation(size)[:count]
        return Chosen(np.sort(drawn).astype(np.int64), None)
    pool = min(size, max(_LEAST_POOL, _POOL * count))
    while True:
        index = balanced_subset(labels.numpy(), pool, seed)
        right = _all_correct(networks, dataset, index, device)
        if right.sum() >= count or pool == size:
            break
        pool = min(size, 8 * pool)
    parts = [
        rows[balanced_subset(labels.numpy()[rows], wanted, seed)]
        for rows, wanted in (
            (index[right], min(count, int(right.sum()))),
            (index[~right], min(count - int(right.sum()), int((~right).sum()))),
        )
        if wanted > 0  # 0 would be all
    ]
    return Chosen(np.sort(np.concatenate(parts)), min(count, int(right.sum())))


def _all_correct(
    networks: Sequence[Network], dataset: Dataset, index: NDArray[np.int64], device: torch.device
) -> NDArray[np.bool_]:
    chosen = dataset.test.rows(torch.from_numpy(index))
    right = torch.ones(len(chosen), dtype=torch.bool)
    for network in networks:
        right &= predictions(network, chosen.images, device, _BATCH) == chosen.labels
    found: NDArray[np.bool_] = right.numpy()
    return found


def known_layers(
    network: nn.Module, example: Tensor, wanted: Sequence[str]
) -> tuple[tuple[Layer, ...], dict[str, UnknownNameError]]:
    """The layers that were asked for and that the network has, and the others with their error.

    Args:
        network: see `bench.explain.feature_maps.layer_names`.
        example: images N x C x H x W in [0, 1], on the network's device.
        wanted: "all", "last" or names.

    Raises:
        BenchError: the network has no map to explain.
    """
    found: dict[str, Layer] = {}
    unknown: dict[str, UnknownNameError] = {}
    for name in wanted:
        try:
            found |= {layer.name: layer for layer in find_layers(network, example, name)}
        except UnknownNameError as error:
            unknown[name] = error
    if not found:
        layer_names(network, example)  # where there are none at all, that is the reason
    return tuple(found.values()), unknown


def views(
    network: Network,
    images: Tensor,
    layers: Sequence[Layer],
    device: torch.device,
    method: str = "paper",
    score: Score | None = None,
) -> Views:
    """Heatmaps of the predicted class, image by image, at up to `MOST_LAYERS` of the layers.

    Args:
        network: in evaluation mode, on the device.
        images: uint8 N x C x H x W.
        layers: in order of depth; of more than `MOST_LAYERS` those at which resolutions end are
            kept, spread evenly.
        device: to work on.
        method: see `bench.explain.cam.heatmaps`, also for `score`.

    Raises:
        BenchError: a layer gives no map, or the logits do not depend on it.
    """
    sizes = _sizes(network, as_input(images[:1], device), layers)
    shown = [layers[i] for i in spread([sizes.get(layer.name) for layer in layers])]
    names = [layer.name for layer in shown]
    # One by one: what is drawn of an image does not depend on which others are.
    found = [
        heatmaps(network, as_input(one[None], device), method=method, layers=names, score=score)
        for one in images
    ]
    logits = torch.cat([one.logits for one in found]).double().cpu()
    probability, predicted = logits.softmax(1).max(1)
    return Views(
        maps={n: np.stack([one.maps[n][0].cpu().numpy() for one in found]) for n in names},
        undefined={n: np.array([bool(one.undefined[n]) for one in found]) for n in names},
        sizes={n: sizes[n] for n in names},
        layers=len(layers),
        predicted=predicted.numpy(),
        probability=probability.numpy(),
    )


def _sizes(
    network: Network, example: Tensor, layers: Sequence[Layer]
) -> dict[str, tuple[int, int]]:
    """Height and width of each layer's map, where there is one (`heatmaps` tells where not)."""
    frame = frame_of(network, example)
    with undisturbed(network, example.device), capturing(layers) as caught, torch.no_grad():
        network(example)
    sizes = {}
    for layer in layers:
        for kept in caught.get(layer.name, [])[:1]:
            sides = frame.sides(kept.shape, layer.layout)
            if sides is not None:
                sizes[layer.name] = sides
    return sizes


def spread(sizes: Sequence[object], most: int = MOST_LAYERS) -> list[int]:
    """Which of many layers to show: the last of each resolution, evenly spaced where these are too
    many; where they leave room, evenly spaced others.

    Args:
        sizes: of the maps in order of depth; neighbours that are equal have the same resolution.
        most: at most so many, 2 or more.

    Returns:
        Their positions, ascending; the last layer is among them.
    """
    count = len(sizes)
    if count <= most:
        return list(range(count))
    ends = [i for i in range(count) if i + 1 == count or sizes[i] != sizes[i + 1]]
    if len(ends) > most:
        return _even(ends, most)
    others = [i for i in range(count) if i not in ends]
    return sorted([*ends, *_even(others, most - len(ends))])


def _even(places: Sequence[int], count: int) -> list[int]:
    """So many of them, evenly spaced, the first and the last among them; of one, the first."""
    step = (len(places) - 1) / max(1, count - 1)
    return [places[round(number * step)] for number in range(count)]


def found_objects(
    maps: NDArray[np.float32], masks: NDArray[np.bool_], threshold: float = 0.2
) -> Found:
    """Cut heatmaps N x H x W at the threshold, and hold them against masks of the objects."""
    heat = torch.from_numpy(maps)
    edge = torch.tensor([threshold], dtype=torch.float64)
    ratios = localize.ratios(localize.counts(heat, torch.from_numpy(masks), edge))
    # The rule of `localize`: strictly above the threshold in the heatmaps' own precision.
    return Found(
        (heat > edge.to(heat)).numpy(),
        ratios.precision[:, 0].numpy(),
        ratios.recall[:, 0].numpy(),
    )


def as_rgb(images: Tensor) -> NDArray[np.uint8]:
    """uint8 N x C x H x W as N x H x W x 3; grey where there are not three channels."""
    wide = images.cpu()
    if wide.shape[1] != 3:
        grey = wide.double().mean(1, keepdim=True).round().to(torch.uint8)
        wide = grey.expand(-1, 3, -1, -1)
    pixels: NDArray[np.uint8] = wide.permute(0, 2, 3, 1).contiguous().numpy()
    return pixels


def check_numbers(numbers: Sequence[int], dataset: Dataset) -> NDArray[np.int64]:
    """Numbers of test images, each once, in the order given.

    Raises:
        BenchError: one is outside the test set.
    """
    size = len(dataset.test)
    for number in numbers:
        if not 0 <= number < size:
            raise BenchError(
                f"{dataset.name} has no test image {number}; its numbers are 0 to {size - 1}"
            )
    return np.array(list(dict.fromkeys(numbers)), dtype=np.int64)
