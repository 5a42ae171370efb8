"""The unmodified model, behind the public surface that all networks share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from arches.inversion.errors import InversionError, first_line
from arches.inversion.options import InvertOptions
from arches.inversion.read import read_stages
from arches.inversion.stages import Stage, Stages, in_short
from arches.inversion.strides import without_strides
from arches.layers.pyramid import Pyramid, scale_names
from arches.surface import Part, ScaledNetwork


class BottomUp(ScaledNetwork):
    """A model as it is.

    Attributes:
        source: name of the model.
        variant: ``bu``.
        model: itself.
        stages: what was found in it; none where its stages cannot be told apart, and then no
            feature map has a name.
        options: of the inversion, of which only the stem and the weights matter here.
    """

    def __init__(
        self,
        source: str,
        model: nn.Module,
        stages: Stages | None,
        in_chans: int,
        num_classes: int,
        image_size: int,
        options: InvertOptions,
    ) -> None:
        super().__init__()
        self.source, self.variant, self.origin = source, "bu", "the model as it is"
        self.stages, self.options = stages, options
        self.in_chans, self.num_classes, self.image_size = in_chans, num_classes, image_size
        self.smallest_side = 1
        self.scales: tuple[int, ...] = (1,)
        self.scale_names = scale_names(self.scales)
        self.pyramid = Pyramid(self.scales)
        self.model = model
        self.feature_names = tuple(self.feature_modules())

    def run(self, images: Sequence[Tensor]) -> Tensor:
        """Logits of one checked image of full resolution."""
        logits: Tensor = self.model(images[0])
        return logits

    def _filled(self) -> list[Stage]:
        return [stage for stage in self.stages.stages if stage.modules] if self.stages else []

    def feature_modules(self) -> dict[str, nn.Module]:
        """The last modules of the stages, fine to coarse, by name."""
        return {
            f"act_{number}": self.model.get_submodule(stage.modules[-1])
            for number, stage in enumerate(self._filled(), start=1)
        }

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """Named feature maps and logits of one pass, all maps N x C x h x w."""
        maps = super().forward_features(x)
        for name, stage in zip(self.feature_names, self._filled(), strict=True):
            maps[name] = _as_map(maps[name], stage)
        return maps

    def rows(self) -> Iterator[Part]:
        """Stem, stages, tail and what is left, the head; without stages the model's children."""
        if self.stages is None:
            for name, child in _running(self.model):
                yield Part(1, name, type(child).__name__, (child,), layout="")
            yield Part(1, "rest", "parameters outside of these", (), layout="", rest=True)
            return
        last = len(self.stages.stages)
        stem, tail = self.stages.stem, self.stages.tail
        if stem:
            entry = self._filled()[0].in_layout
            yield self._part(1, "stem", stem, in_width=self.in_chans, layout=entry)
        for depth, stage in enumerate(self.stages.stages, start=1):
            if stage.modules:
                name, layout = f"s{stage.reduction}", stage.out_layout
                yield self._part(depth, name, stage.modules, stage.in_width, stage.width, layout)
        if tail:
            layout, width = self._filled()[-1].out_layout, self._filled()[-1].width
            yield self._part(last, "tail", tail, in_width=width, layout=layout)
        paths = tuple(_outside(self.model, {*self._staged(), *stem, *tail}))
        yield self._part(last, "head", paths, width=self.num_classes, layout="", rest=True)

    def _part(
        self,
        depth: int,
        name: str,
        paths: Sequence[str],
        in_width: int | None = None,
        width: int | None = None,
        layout: str = "nchw",
        rest: bool = False,
    ) -> Part:
        modules = tuple(self.model.get_submodule(path) for path in paths)
        return Part(depth, name, in_short(paths), modules, in_width, width, layout, rest)

    def _staged(self) -> list[str]:
        return [path for stage in self._filled() for path in stage.modules]

    def remarks(self) -> Iterator[str]:
        """Why there are no stages, if there are none."""
        if self.stages is None:
            try:
                read_stages(self.model, self.in_chans, None, self.image_size)
                reason = "its stages are those of the adapted model"
            except InversionError as error:
                reason = str(error).rstrip(".")
            yield f"no sizes, widths, fields and named feature maps: {reason}"

    def no_weight_decay(self) -> set[str]:
        """What the model itself leaves out of weight decay."""
        own = getattr(self.model, "no_weight_decay", None)
        names = own() if callable(own) else ()
        return {f"model.{name}" for name in names}


def _running(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The largest modules that can be called, but for those that do nothing."""
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _running(child, f"{prefix}{name}.")
        elif not isinstance(child, nn.Identity):
            yield f"{prefix}{name}", child


def _outside(module: nn.Module, paths: set[str], prefix: str = "") -> Iterator[str]:
    """Paths of the largest modules that neither are nor contain nor are inside one of these."""
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        if path in paths:
            continue
        if any(other.startswith(f"{path}.") for other in paths):
            yield from _outside(child, paths, f"{path}.")
        else:
            yield path


def _as_map(value: Tensor | Sequence[Tensor], stage: Stage) -> Tensor:
    axis = 1 if stage.out_layout == "nchw" else 3
    x = value if isinstance(value, Tensor) else torch.cat(list(value), dim=axis)
    return x if axis == 1 else x.permute(0, 3, 1, 2)


def with_small_stem(model: nn.Module, stages: Stages) -> None:
    """Let the stem of a model neither stride nor pool, for small images; the model is changed."""
    for path in stages.stem:
        model.set_submodule(path, without_strides(model.get_submodule(path)))


def require_logits(
    model: nn.Module, in_chans: int, num_classes: int, image_size: int, native_size: int | None
) -> None:
    """Check that a model as it is classifies images of a size.

    Args:
        model: whose mode is left as it was.
        in_chans: channels of the image.
        num_classes: number of logits.
        image_size: side of the image in pixels.
        native_size: side of the images the model was made for, where known.

    Raises:
        InversionError: when it fails, or gives anything but N x num_classes.
    """
    try:
        try:
            logits, count = _logits(model, in_chans, image_size), 1
        except ValueError:  # it may need the statistics of a batch, in inference too
            logits, count = _logits(model, in_chans, image_size, count=2), 2
    except Exception as error:  # the model's own modules may raise anything
        if native_size not in (None, image_size) and _runs(model, in_chans, native_size or 1):
            raise InversionError(
                "fixed size",
                f"fixed input size: the model takes images of {native_size} pixels, and fails on "
                f"{image_size}: {first_line(error)}",
            ) from error
        raise InversionError(
            "forward", f"the model itself fails on an image: {first_line(error)}"
        ) from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (count, num_classes):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        images = "one image" if count == 1 else "two images"
        raise InversionError(
            "logits", f"the model gives {shape} for {images}, not {num_classes} logits."
        )


def _logits(model: nn.Module, in_chans: int, side: int, count: int = 1) -> object:
    training = model.training
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            return model.eval()(torch.randn(count, in_chans, side, side))
    finally:
        model.train(training)


def _runs(model: nn.Module, in_chans: int, side: int) -> bool:
    try:
        _logits(model, in_chans, side)
    except Exception:  # as above
        return False
    return True
