"""The unmodified model, behind the public surface that all networks share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from arches.inversion.options import InvertOptions
from arches.inversion.stages import Stage, Stages
from arches.inversion.strides import without_strides
from arches.pyramid import Pyramid, scale_names
from arches.surface import ScaledNetwork


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
        self.source, self.variant = source, "bu"
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

    def no_weight_decay(self) -> set[str]:
        """What the model itself leaves out of weight decay."""
        own = getattr(self.model, "no_weight_decay", None)
        names = own() if callable(own) else ()
        return {f"model.{name}" for name in names}


def _as_map(value: Tensor | Sequence[Tensor], stage: Stage) -> Tensor:
    axis = 1 if stage.out_layout == "nchw" else 3
    x = value if isinstance(value, Tensor) else torch.cat(list(value), dim=axis)
    return x if axis == 1 else x.permute(0, 3, 1, 2)


def with_small_stem(model: nn.Module, stages: Stages) -> None:
    """Let the stem of a model neither stride nor pool, for small images; the model is changed."""
    for path in stages.stem:
        model.set_submodule(path, without_strides(model.get_submodule(path)))
