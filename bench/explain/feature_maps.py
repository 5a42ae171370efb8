"""Which maps of a network there are to explain, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arches.surface import ScaledNetwork
from bench.errors import BenchError, UnknownNameError
from bench.explain.capture import undisturbed
from bench.explain.layout import Frame, Layer, tensors, token_grid, token_modules


def backbone_of(network: nn.Module) -> nn.Module:
    """The backbone inside its normalisation (`bench.models.network`), or the module itself."""
    inside = getattr(network, "backbone", None)
    return inside if isinstance(inside, nn.Module) else network


def frame_of(network: nn.Module, images: Tensor) -> Frame:
    """Size of images N x C x H x W, and the patch grid that an isotropic network lays on them."""
    size = (images.shape[2], images.shape[3])
    return Frame(size, token_grid(_model(backbone_of(network)), size))


def layer_names(network: nn.Module, example: Tensor) -> tuple[str, ...]:
    """Names of the maps for images of a size, in order of depth; "last" is the last of them.

    They are the named maps of a network of `arches` (``act_1``, ...); for an isotropic model the
    tokens that its blocks read, by module path; for any other module, also by path, the last map of
    each resolution, of modules that run at one only. Maps of one pixel show no place and are left
    out.

    Args:
        network: images N x C x H x W in, logits out; with or without its normalisation around it.
        example: such images, of which the first is predicted.

    Raises:
        BenchError: there is no map; the message says what there was.
    """
    return tuple(layer.name for layer in _known(network, example))


def find_layers(
    network: nn.Module, images: Tensor, layers: str | Sequence[str]
) -> tuple[Layer, ...]:
    """The layers that were asked for, in that order, each once.

    "last" and "all" cost the prediction of one image; names do not.

    Args:
        network: as in `layer_names`.
        images: N x C x H x W, the images to explain.
        layers: "last", "all", names of `layer_names`, or paths of modules of the backbone.

    Raises:
        UnknownNameError: a name is neither; the message lists the names.
        BenchError: no layer was asked for, or as in `layer_names`.
    """
    wanted = [layers] if isinstance(layers, str) else list(layers)
    if not wanted:
        raise BenchError("no layer to explain: give 'last', 'all' or names of layers")
    backbone = backbone_of(network)
    named = {layer.name: layer for layer in _named(backbone)}
    paths = dict(backbone.named_modules())
    paths.pop("", None)
    known: tuple[Layer, ...] = ()
    if not {"last", "all"}.isdisjoint(wanted):
        known = _known(network, images)
    found: list[Layer] = []
    for name in wanted:
        if name in ("last", "all"):
            found += known if name == "all" else known[-1:]
        elif name in named:
            found.append(named[name])
        elif name in paths:
            found.append(Layer(name, paths[name]))
        else:
            raise UnknownNameError(
                f"unknown layer '{name}'; there are {', '.join(layer_names(network, images))} "
                "(or any module by its path in the backbone)"
            )
    return tuple({layer.name: layer for layer in found}.values())


def _model(backbone: nn.Module) -> nn.Module:
    """The model behind the surface of `arches`, where there is one."""
    inside = getattr(backbone, "model", None)
    return inside if isinstance(inside, nn.Module) else backbone


def _named(backbone: nn.Module) -> Iterator[Layer]:
    """Layers that are known without a pass: named feature maps, else those of token models."""
    features = backbone.feature_modules() if isinstance(backbone, ScaledNetwork) else {}
    if isinstance(backbone, ScaledNetwork) and features:
        layouts = {id(m): part.layout for part in backbone.rows() for m in part.modules}
        for name, module in features.items():
            yield Layer(name, module, layouts.get(id(module), "nchw"))
        return
    model = _model(backbone)
    # Any size will do to learn whether there is a grid at all.
    if token_grid(model, (224, 224)) is not None:
        prefix = "" if model is backbone else "model."
        for path, module in token_modules(model).items():
            yield Layer(prefix + path, module)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a module returned: its name, shape and, if that is a map, height and width; `weighted`
    modules have parameters."""

    name: str
    shape: tuple[int, ...]
    sides: tuple[int, int] | None
    weighted: bool

    @property
    def is_map(self) -> bool:
        return self.sides is not None and self.sides != (1, 1)

    def __str__(self) -> str:
        return f"{self.name}: {' x '.join(['N', *map(str, self.shape[1:])])}"


def _known(network: nn.Module, example: Tensor) -> tuple[Layer, ...]:
    backbone = backbone_of(network)
    named = {layer.name: layer for layer in _named(backbone)}
    if named:
        seen = _survey(network, named.values(), example)
        names = [one.name for one in seen if one.is_map]
        if not names:
            raise _no_map(backbone, seen)
        return tuple(layer for layer in named.values() if layer.name in names)
    modules = {path: Layer(path, m) for path, m in backbone.named_modules() if path}
    return tuple(modules[name] for name in _by_resolution(network, modules, example))


def _by_resolution(network: nn.Module, modules: Mapping[str, Layer], example: Tensor) -> list[str]:
    """Of each size of map the last module that gives it, in the order in which they run."""
    backbone = backbone_of(network)
    seen = _survey(network, modules.values(), example)
    sizes: dict[str, set[tuple[int, int] | None]] = {}
    for one in seen:
        sizes.setdefault(one.name, set()).add(one.sides)
    last: dict[tuple[int, int], int] = {}
    for number, one in enumerate(seen):
        sides = one.sides
        fits = sides and all(a <= b for a, b in zip(sides, example.shape[2:], strict=True))
        # One activation for all resolutions has no map of its own.
        alone = len(sizes[one.name]) == 1
        if sides and fits and alone and one.is_map and len(one.shape) == 4:
            last.pop(sides, None)
            last[sides] = number
    if not last:
        raise _no_map(backbone, seen)
    # A network that goes on in tokens would be explained by its patches alone, before it looked.
    after = [one for one in seen[max(last.values()) :] if one.weighted and len(one.shape) == 3]
    if after:
        raise BenchError(
            f"{_title(backbone)} works on tokens whose places are not known ({after[-1]}); "
            "name a layer by the path of its module"
        )
    return [seen[number].name for number in last.values()]


def _survey(network: nn.Module, layers: Iterable[Layer], example: Tensor) -> list[_Seen]:
    """What modules give for one image, in the order in which they end."""
    frame = frame_of(network, example)
    seen: list[_Seen] = []

    def note(layer: Layer, module: nn.Module, output: object) -> None:
        found = tensors(output)
        # A number, such as a temperature, is of no image.
        if found and found[0].dim() and len(found[0]) == 1:
            shape = tuple(found[0].shape)
            sides = frame.common_sides([x.shape for x in found], layer.layout)
            weighted = next(module.parameters(), None) is not None
            seen.append(_Seen(layer.name, shape, sides, weighted))

    handles = [
        layer.module.register_forward_hook(
            lambda module, _given, output, layer=layer: note(layer, module, output)
        )
        for layer in layers
    ]
    try:
        with undisturbed(network, example.device), torch.no_grad():
            network(example[:1].detach())
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _title(backbone: nn.Module) -> str:
    if isinstance(backbone, ScaledNetwork):
        return f"{backbone.source} ({backbone.variant})"
    return type(backbone).__name__


def _no_map(backbone: nn.Module, seen: Sequence[_Seen]) -> BenchError:
    shown = ", ".join(map(str, seen[-6:])) or "nothing"
    more = "..., " if len(seen) > 6 else ""
    return BenchError(
        f"{_title(backbone)} has no spatial feature map larger than 1 x 1 to explain; "
        f"its modules give {more}{shown}"
    )
