"""What every network of this package offers, whatever it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from arches.layers.blocks import Unit
from arches.layers.pyramid import Pyramid


@dataclass(frozen=True, slots=True)
class Part:
    """What one row of a description is about: modules that run one after the other.

    Attributes:
        depth: position in depth, from 1.
        name: short, such as ``m2.fuse``.
        operation: in words.
        modules: in no particular order; none of them is inside another, or in two parts.
        in_width: channels that enter, where known.
        width: channels that leave, where known before a pass.
        layout: order of the axes of the map that leaves, ``nchw`` or ``nhwc``; empty where what
            leaves is not known to be a map.
        rest: whether all parameters that no part owns are to be counted here.
    """

    depth: int
    name: str
    operation: str
    modules: tuple[nn.Module, ...]
    in_width: int | None = None
    width: int | None = None
    layout: str = "nchw"
    rest: bool = False


class ScaledNetwork(nn.Module):
    """A network that reads the image at one or more scales and names its feature maps.

    Attributes:
        source: what it was made from: the name of a backbone, or the class of a module.
        variant: one of :data:`arches.VARIANTS`.
        origin: where the network as such comes from, in words; empty for the paper's own.
        in_chans: channels of the image.
        num_classes: number of logits.
        image_size: side in pixels of the images that it was made for.
        smallest_side: shortest side of an image, in pixels, that it can read.
        scales: factors at which the image is read, finest first; ``(1,)`` in a bottom-up network.
        scale_names: the names of these inputs.
        pyramid: makes these inputs.
        feature_names: the named feature maps, in order of depth: ``act_1``, ``act_2``, ...
        packages: of the model that it was made from, see :func:`arches.code.packages`; none where
            it was made from no model.
    """

    source: str
    variant: str
    origin: str
    in_chans: int
    num_classes: int
    image_size: int
    smallest_side: int
    scales: tuple[int, ...]
    scale_names: tuple[str, ...]
    pyramid: Pyramid
    feature_names: tuple[str, ...]
    packages: frozenset[str] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images.

        Args:
            x: N x in_chans x H x W, normalised as in training.

        Returns:
            N x num_classes, what goes into the softmax.

        Raises:
            ValueError: for other shapes, or an image too small for the coarsest resolution.
        """
        self.check(x)
        return self.run([x] * len(self.scales))

    def forward_scales(self, images: Mapping[str | int, Tensor] | Sequence[Tensor]) -> Tensor:
        """Logits when each scale is made from an image of its own (paper, section 4.2).

        Args:
            images: one image of full resolution for each scale, N x in_chans x H x W: a mapping by
                name or position, or a sequence, finest first. The network downsamples each.

        Returns:
            N x num_classes; the same image at all scales gives what ``forward`` gives.

        Raises:
            ValueError: for a missing or unknown scale, or images of different shapes.
        """
        ordered = self.pyramid.order(images)
        self.check(ordered[0])
        return self.run(ordered)

    def run(self, images: Sequence[Tensor]) -> Tensor:
        """Logits of one checked image of full resolution for each scale, finest first."""
        raise TypeError(f"{type(self).__name__} does not say how it runs.")

    def check(self, image: Tensor) -> None:
        """Raise ``ValueError`` for images of the wrong shape or too small."""
        if image.dim() != 4 or image.shape[1] != self.in_chans:
            raise ValueError(
                f"images must be N x {self.in_chans} x H x W, not {tuple(image.shape)}."
            )
        if min(image.shape[2:]) < self.smallest_side:
            raise ValueError(
                f"images of {image.shape[2]} x {image.shape[3]} pixels are too small: the coarsest "
                f"resolution is 1/{self.smallest_side}, so no side may be shorter than "
                f"{self.smallest_side} pixels."
            )

    def feature_modules(self) -> dict[str, nn.Module]:
        """The modules whose outputs are the named feature maps, by name in order of depth."""
        return {}

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """Named feature maps and logits of one pass; gradients flow between them.

        Args:
            x: N x in_chans x H x W.

        Returns:
            The maps (N x C x h x w) under ``feature_names``, then ``logits`` (N x num_classes).
        """
        maps: dict[str, Tensor] = {}
        handles = [
            module.register_forward_hook(lambda _m, _i, out, name=name: maps.update({name: out}))
            for name, module in self.feature_modules().items()
        ]
        try:
            logits = self(x)
        finally:
            for handle in handles:
                handle.remove()
        return {**{name: maps[name] for name in self.feature_names}, "logits": logits}

    def rows(self) -> Iterator[Part]:
        """What the network consists of, in order of depth, for :func:`arches.describe`."""
        return iter(())

    def remarks(self) -> Iterator[str]:
        """What a reader of its description should know beside the numbers, a line each."""
        return iter(())

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that a recipe leaves out of weight decay."""
        return set()


class PositionedNetwork(ScaledNetwork):
    """A network of depth positions, each with its level of the pyramid, and a head.

    Attributes:
        positions: in order of depth; each has a ``factor`` and maps the features so far and its
            level of the pyramid (``None`` where it reads no image) to features.
        head: maps the last features to logits.
    """

    positions: Sequence[Any]
    head: Unit

    def run(self, images: Sequence[Tensor]) -> Tensor:
        """Logits of one checked image of full resolution for each scale, finest first."""
        levels = dict(zip(self.scales, self.pyramid(images), strict=True))
        x: Tensor | None = None
        for position in self.positions:
            x = position(x, levels.get(position.factor))
        logits: Tensor = self.head(x)
        return logits

    def units(self) -> Iterator[tuple[str, Unit]]:
        """Module paths and units, in order of depth."""
        for path, module in self.named_modules():
            if isinstance(module, Unit):
                yield path, module

    def rows(self) -> Iterator[Part]:
        """The outermost units, in order of depth."""
        for depth, position in enumerate(self.positions, start=1):
            yield from (_part(depth, unit) for unit in outermost(position))
        yield _part(len(self.positions), self.head)


def _part(depth: int, unit: Unit) -> Part:
    return Part(depth, unit.name, unit.operation, (unit,), unit.in_width, unit.width)


def outermost(module: nn.Module) -> Iterator[Unit]:
    """Units that are not part of another one."""
    for child in module.children():
        if isinstance(child, Unit):
            yield child
        else:
            yield from outermost(child)
