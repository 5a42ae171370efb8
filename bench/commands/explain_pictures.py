"""What `bench explain` draws of one backbone: images and maps are chosen, then become pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bench.data import objects
from bench.errors import BenchError
from bench.explain import gallery
from bench.explain.cam import Score
from bench.explain.gallery import Views
from bench.measures.heatmap_options import HeatmapOptions, differentiated, said, undefined_because
from bench.measures.localization import Options
from bench.models.predict import as_input
from leaderboard.figures import overlays
from leaderboard.figures.overlays import Cut, Map, Seen, Shown

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from bench.data.dataset import Dataset
    from bench.explain.layout import Layer
    from bench.models.network import Network


class NothingToDrawError(BenchError):
    """Not one network of a backbone can be explained."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be drawn: images by `numbers`, or else `count` of them, drawn with `seed`;
    `layers`, "all", "last" or names; method and score as in `bench.explain.cam.heatmaps`."""

    numbers: tuple[int, ...]
    count: int
    seed: int
    layers: tuple[str, ...]
    method: str
    score: Score | None

    @property
    def options(self) -> HeatmapOptions:
        """Method and score as a measure has them."""
        return HeatmapOptions.model_validate({"method": self.method, "score": self.score})

    def said(self) -> str:
        """The maps in words, without their layer, which the pictures tell."""
        return said(self.options).partition(" at feature map")[0]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Test images (int64 N numbers) of a data set, and by variant what a network shows of them."""

    dataset: Dataset
    index: NDArray[np.int64]
    views: Mapping[str, Views]


def scene(
    request: Request,
    dataset: Dataset,
    networks: Mapping[str, Network],
    device: torch.device,
    notes: list[str],
) -> Scene:
    """Choose images and explain them; adds to `notes` what cannot be shown.

    Raises:
        NothingToDrawError: no network has what was asked for.
        BenchError: an image that is not in the test set.
    """
    layers = _layers(request, dataset, networks, device, notes)
    if request.numbers:
        index = gallery.check_numbers(request.numbers, dataset)
    else:
        those = [networks[variant] for variant in layers]
        chosen = gallery.choose(those, dataset, device, request.count, request.seed)
        index = chosen.index
        if chosen.correct is not None and chosen.correct < len(index):
            notes.append(
                f"only {chosen.correct} of the {len(index)} images drawn are classified correctly "
                "by all networks; there are no more"
            )
    images = dataset.test.images[torch.from_numpy(index)]
    views: dict[str, Views] = {}
    for variant, found in layers.items():
        try:
            view = gallery.views(
                networks[variant], images, found, device, request.method, request.score
            )
        except (BenchError, RuntimeError) as error:
            notes.append(f"{variant}: {_first_line(error)}")
            continue
        views[variant] = view
        notes.extend(f"{variant}: {note}" for note in _view_notes(request, view, index))
    if not views:
        raise NothingToDrawError("; ".join(notes))
    return Scene(dataset, index, views)


def _layers(
    request: Request,
    dataset: Dataset,
    networks: Mapping[str, Network],
    device: torch.device,
    notes: list[str],
) -> dict[str, tuple[Layer, ...]]:
    """By variant the layers to draw; notes on variants that have none of them, or not all."""
    example = as_input(dataset.test.images[:1], device)
    found: dict[str, tuple[Layer, ...]] = {}
    lacking: dict[str, dict[str, str]] = {}
    able = 0
    for variant, network in networks.items():
        try:
            layers, unknown = gallery.known_layers(network, example, request.layers)
        except (BenchError, RuntimeError) as error:
            notes.append(f"{variant}: {_first_line(error)}")
            continue
        able += 1
        for name, refusal in unknown.items():
            lacking.setdefault(name, {})[variant] = str(refusal)
        if layers:
            found[variant] = layers
    for reasons in lacking.values():
        if len(reasons) == able:
            raise NothingToDrawError("; ".join(dict.fromkeys(reasons.values())))
        notes.extend(f"{variant}: {reason}" for variant, reason in reasons.items())
    if not found:
        raise NothingToDrawError("; ".join(notes))
    return found


def _first_line(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0]
    return first if isinstance(error, BenchError) else f"{type(error).__name__}: {first}"


def _view_notes(request: Request, view: Views, index: NDArray[np.int64]) -> Iterator[str]:
    """What a reader of the pictures must know of a network's maps."""
    if len(view.maps) < view.layers:
        yield (
            f"{len(view.maps)} of {view.layers} layers are drawn, spread over the ends of "
            "resolutions; --layers names others"
        )
    why = undefined_because(request.options)
    if differentiated(request.options) == "probability":
        why += ", or the probability is saturated: try --score logit"
    for layer, undefined in view.undefined.items():
        if undefined.any():
            images = ", ".join(map(str, index[undefined]))
            yield f"the map of {layer} is 0/0 for image {images} ({why})"


def figures(
    scene: Scene, title: str, note: str, options: Options, notes: list[str]
) -> Iterator[tuple[str, Figure]]:
    """The pictures with the ends of their names; adds to `notes` why one of them is missing.

    `options` are those of the measure that localizes: threshold, and how objects are found.
    """
    cuts = _cuts(scene, options, notes)
    shown = _shown(scene, cuts)
    yield "layers", overlays.layers_figure(title, note, shown)
    yield "last", overlays.last_figure(title, note, shown)
    if cuts:
        figure = overlays.localization_figure(title, note, shown, options.threshold)
        yield "localization", figure


def _cuts(scene: Scene, options: Options, notes: list[str]) -> list[tuple[Cut, ...]]:
    """For each image the last map of each variant against the object; none without masks."""
    dataset, foreground = scene.dataset, options.foreground
    masks = objects.masks(dataset, torch.from_numpy(scene.index), foreground)
    if masks is None:
        reason = objects.refusal(dataset, foreground) or f"{dataset.name} has boxes, but no masks"
        notes.append(f"no picture of localization: {reason}")
        return []
    known = masks.numpy()
    found = [
        gallery.found_objects([*view.maps.values()][-1], known, options.threshold)
        for view in scene.views.values()
    ]
    return [
        tuple(
            Cut(mask, one.predicted[i], float(one.precision[i]), float(one.recall[i]))
            for one in found
        )
        for i, mask in enumerate(known)
    ]


def _shown(scene: Scene, cuts: Sequence[tuple[Cut, ...]]) -> list[Shown]:
    test = scene.dataset.test.rows(torch.from_numpy(scene.index))
    numbers = scene.index.tolist()
    labels = [None] * len(numbers) if test.labels is None else test.labels.tolist()
    return [
        Shown(
            pixels,
            number,
            "" if label is None else scene.dataset.classes[label],
            tuple(_seen(scene, variant, i, label) for variant in scene.views),
            cuts[i] if cuts else (),
        )
        for i, (pixels, number, label) in enumerate(
            zip(gallery.as_rgb(test.images), numbers, labels, strict=True)
        )
    ]


def _seen(scene: Scene, variant: str, i: int, label: int | None) -> Seen:
    view = scene.views[variant]
    predicted = int(view.predicted[i])
    return Seen(
        variant,
        scene.dataset.classes[predicted],
        float(view.probability[i]),
        None if label is None else predicted == label,
        tuple(
            Map(layer, view.sizes[layer], maps[i], bool(view.undefined[layer][i]))
            for layer, maps in view.maps.items()
        ),
    )
