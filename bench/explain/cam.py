"""Class activation maps of a batch in one forward and one backward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bench.errors import BenchError, UnknownNameError, did_you_mean
from bench.explain.capture import Caught, capturing, fast_layout, undisturbed
from bench.explain.feature_maps import backbone_of, find_layers, frame_of
from bench.explain.heatmap import minmax_heatmap, paper_heatmap
from bench.explain.layout import Frame, Layer

Score = Literal["logit", "probability"]

METHODS: Mapping[str, str] = {
    "paper": "Grad-CAM as in Top-Down Networks: of the probability, centred, without ReLU before",
    "grad-cam": "channels weighted by their mean gradient (Selvaraju et al., 2017)",
    "grad-cam++": "by a weighted mean of positive gradients (Chattopadhay et al., 2018)",
    "hires-cam": "each value times its own gradient (Draelos and Carin, 2020)",
    "layer-cam": "each value times its own positive gradient (Jiang et al., 2021)",
}
SCORES: tuple[Score, ...] = ("logit", "probability")


@dataclass(frozen=True, slots=True)
class Heatmaps:
    """What a batch of N images shows.

    Attributes:
        maps: by name of the layer, in the order that was asked for; float32 N x H x W in [0, 1] at
            the size of the images, on their device.
        logits: N x classes, of the same pass.
        target: int64 N, the classes that the maps are about.
        undefined: by name of the layer, bool N: true where the map is 0/0, because it is constant,
            dead, or of a saturated score; the map is then 0 everywhere.
    """

    maps: dict[str, Tensor]
    logits: Tensor
    target: Tensor
    undefined: dict[str, Tensor]


def heatmaps(
    network: nn.Module,
    images: Tensor,
    *,
    method: str = "paper",
    layers: str | Sequence[str] = ("last",),
    score: Score | None = None,
    target: Tensor | None = None,
) -> Heatmaps:
    """Heatmaps of one batch, all layers from one forward and one backward pass.

    The network runs in evaluation mode and is left as it was: modes, flags and gradients of
    parameters, hooks, random state. "paper" follows the authors' script (facts of the paper,
    section 6c, see `bench.explain.heatmap.paper_heatmap`); the other methods give what the package
    grad-cam 1.5.7 gives for each layer alone, with its scaling (`minmax_heatmap`), but of the map
    as a module returned it, whatever is written into it later.

    Args:
        network: images in [0, 1] in, logits N x classes out.
        images: float N x C x H x W in [0, 1], on the network's device.
        method: one of `METHODS`.
        layers: see `bench.explain.feature_maps.find_layers`. "last" and "all" cost the prediction
            of one more image: in a loop over batches, look the names up once.
        score: what is differentiated: the "logit" of the target or its softmax "probability"; by
            default the probability for "paper", else the logit.
        target: int64 N, the class to explain for each image; by default the predicted one.

    Raises:
        UnknownNameError: no such method, score or layer.
        BenchError: images or targets of the wrong kind, no such map, or the logits do not depend
            on it.
    """
    chosen_score = _check(images, method, score)
    chosen = find_layers(network, images, layers)
    with undisturbed(network, images.device):
        # A tensor of inference mode cannot take part in a backward pass.
        images = images.clone() if images.is_inference() else images.detach()
        fast = fast_layout(backbone_of(network), images.device)
        with fast, capturing(chosen) as caught, torch.enable_grad():
            logits = network(images)
        target = _target(logits, target)
        frame = frame_of(network, images)
        _require_maps(chosen, caught, frame, len(images))
        seed = score_gradient(logits.detach(), target, chosen_score)
        gradients = _gradients(chosen, caught, logits, seed)
        with torch.no_grad():
            scaled = {
                layer.name: _heatmap(
                    method, frame, layer, caught[layer.name], gradients[layer.name]
                )
                for layer in chosen
            }
    maps = {name: heat for name, (heat, _) in scaled.items()}
    undefined = {name: which for name, (_, which) in scaled.items()}
    return Heatmaps(maps, logits.detach(), target, undefined)


def require_maps(network: nn.Module, images: Tensor, layers: str | Sequence[str]) -> None:
    """Refuse layers that give no map to explain, for the price of a prediction.

    Args:
        network: as in `heatmaps`; it may be on the meta device.
        images: float N x C x H x W, on its device.
        layers: as in `heatmaps`.

    Raises:
        UnknownNameError: no such layer.
        BenchError: what it gives is no map of each image, or one of 1 x 1.
    """
    chosen = find_layers(network, images, layers)
    with undisturbed(network, images.device), capturing(chosen) as caught, torch.no_grad():
        network(images)
    _require_maps(chosen, caught, frame_of(network, images), len(images))


def _check(images: Tensor, method: str, score: str | None) -> Score:
    if method not in METHODS:
        raise UnknownNameError(f"unknown method '{method}'{did_you_mean(method, METHODS)}")
    if images.dim() != 4 or not images.is_floating_point():
        raise BenchError(
            f"images to explain must be float N x C x H x W in [0, 1], not {images.dtype} "
            f"{tuple(images.shape)}"
        )
    if score is None:
        return "probability" if method == "paper" else "logit"
    for known in SCORES:
        if score == known:
            return known
    raise UnknownNameError(f"unknown score '{score}'; known: {', '.join(SCORES)}")


def _target(logits: object, target: Tensor | None) -> Tensor:
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        what = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise BenchError(f"the network to explain gives {what}, not logits N x classes")
    if target is None:
        return logits.detach().argmax(1)
    count, classes = logits.shape
    fits = target.shape == (count,) and target.dtype == torch.int64
    # What lies on a device is not looked at, so that nothing waits for it.
    if fits and target.device.type == "cpu":
        fits = bool(((target >= 0) & (target < classes)).all())
    if not fits:
        raise BenchError(
            f"target must be int64 of shape ({count},) with classes from 0 to {classes - 1}"
        )
    return target.to(logits.device)


def score_gradient(logits: Tensor, target: Tensor, score: Score) -> Tensor:
    """Gradient of each image's score with respect to its logits, N x classes.

    That of the probability p of the target is p (1 - p) there and -p q elsewhere. 1 - p is summed
    from the others, so that it is not lost where p rounds to 1.
    """
    at_target = torch.zeros_like(logits).scatter_(1, target[:, None], 1.0)
    if score == "logit":
        return at_target
    probabilities = logits.softmax(1)
    others = probabilities * (1 - at_target)
    p = probabilities.gather(1, target[:, None])
    return p * (at_target * others.sum(1, keepdim=True) - others)


def _require_maps(layers: Sequence[Layer], caught: Caught, frame: Frame, count: int) -> None:
    for layer in layers:
        if layer.name not in caught:
            raise BenchError(f"layer '{layer.name}' does not run when the network predicts")
        shapes = [x.shape for x in caught[layer.name]]
        side = frame.common_sides(shapes, layer.layout)
        if side is None or {shape[0] for shape in shapes} != {count}:
            shown = ", ".join(" x ".join(map(str, shape)) or "a number" for shape in shapes)
            raise BenchError(
                f"layer '{layer.name}' gives {shown} for {count} images: not a map of known layout"
            )
        if side == (1, 1):
            raise BenchError(
                f"layer '{layer.name}' is 1 x 1 for images of {frame.size[0]} x {frame.size[1]} "
                "and shows no place; choose one before it"
            )


def _gradients(
    layers: Sequence[Layer], caught: Caught, logits: Tensor, seed: Tensor
) -> dict[str, list[Tensor]]:
    """By layer the gradients of what was caught, one backward pass for all."""
    inputs = [x for layer in layers for x in caught[layer.name]]
    found: Sequence[Tensor | None] = [None] * len(inputs)
    if logits.requires_grad:
        found = torch.autograd.grad(logits, inputs, seed, allow_unused=True)
    rest = iter(found)
    gradients: dict[str, list[Tensor]] = {}
    for layer in layers:
        parts = [(x, next(rest)) for x in caught[layer.name]]
        if all(gradient is None for _, gradient in parts):
            raise BenchError(f"the logits do not depend on layer '{layer.name}'")
        gradients[layer.name] = [torch.zeros_like(x) if g is None else g for x, g in parts]
    return gradients


def _channels_weighted(weights: Tensor, maps: Tensor) -> Tensor:
    """Sum of the maps N x C x h x w by weights N x C, N x h x w."""
    height, width = maps.shape[2:]
    return torch.bmm(weights[:, None], maps.flatten(2)).reshape(-1, height, width)


def _grad_cam(maps: Tensor, gradients: Tensor) -> Tensor:
    return _channels_weighted(gradients.mean((2, 3)), maps)


def _grad_cam_plus_plus(maps: Tensor, gradients: Tensor) -> Tensor:
    # Equation 19 of the paper, for a score that is exponential in the logit; 1e-6 is the package's.
    squared = gradients.square()
    below = 2 * squared + maps.sum((2, 3), keepdim=True) * squared * gradients + 1e-6
    shares = torch.where(gradients == 0, 0.0, squared / below)
    return _channels_weighted((gradients.clamp(min=0) * shares).sum((2, 3)), maps)


def _hires_cam(maps: Tensor, gradients: Tensor) -> Tensor:
    return (gradients * maps).sum(1)


def _layer_cam(maps: Tensor, gradients: Tensor) -> Tensor:
    return (gradients.clamp(min=0) * maps).sum(1)


# All take maps and gradients N x C x h x w and give N x h x w.
_CAMS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "paper": _grad_cam,
    "grad-cam": _grad_cam,
    "grad-cam++": _grad_cam_plus_plus,
    "hires-cam": _hires_cam,
    "layer-cam": _layer_cam,
}


def _heatmap(
    method: str, frame: Frame, layer: Layer, caught: Sequence[Tensor], slopes: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The heatmap of a layer from what was caught there and its gradients, and where it is 0/0."""
    maps, gradients = (frame.as_map(parts, layer.layout) for parts in (caught, slopes))
    size = frame.size
    wide = torch.promote_types(maps.dtype, torch.float32)
    cam = _CAMS[method](maps.detach().to(wide), gradients.to(wide))
    return paper_heatmap(cam, size) if method == "paper" else minmax_heatmap(cam, size)
