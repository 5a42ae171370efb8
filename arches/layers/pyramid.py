"""The scales of the image that a top-down network reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from arches.layers.resample import downsample

_NAMES = {1: ("high",), 2: ("high", "low"), 3: ("high", "medium", "low")}


def scale_names(scales: Sequence[int]) -> tuple[str, ...]:
    """Names of the scale inputs, finest first.

    Up to three scales have the paper's names ``high``, ``medium``, ``low`` (section 4.2); more of
    them are called by their factor, such as ``scale8``.
    """
    return _NAMES.get(len(scales)) or tuple(f"scale{factor}" for factor in scales)


class Pyramid(nn.Module):
    """Makes the scales, each straight from a full-resolution image.

    Args:
        scales: factors, finest first.
        method: one of :data:`arches.options.DOWNSAMPLING`.
        sigma: of the ``gaussian`` method, in pixels; half the factor where ``None``.
        partial: whether last pixels that the image covers in part count, as they do in networks
            whose strides round up.
    """

    def __init__(
        self,
        scales: Sequence[int],
        method: str = "tf",
        sigma: float | None = None,
        partial: bool = False,
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.method = method
        self.sigma = sigma
        self.partial = partial

    def forward(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Downsample one full-resolution image (N x C x H x W) for each scale."""
        return [
            downsample(image, factor, self.method, self.sigma, self.partial)
            for factor, image in zip(self.scales, images, strict=True)
        ]

    def order(self, images: Mapping[str | int, Tensor] | Sequence[Tensor]) -> list[Tensor]:
        """Images in the order of the scales, from names, positions or a sequence.

        Args:
            images: one image of full resolution for each scale: a mapping by name
                (:func:`scale_names`) or position (0 is the finest), or a sequence, finest first.

        Raises:
            ValueError: when a scale is missing, given twice or unknown, or shapes differ.
        """
        names = scale_names(self.scales)
        given = images if isinstance(images, Mapping) else dict(enumerate(images))
        found: dict[int, Tensor] = {}
        for key, image in given.items():
            position = names.index(key) if key in names else key
            if position in found or position not in range(len(names)):
                raise ValueError(f"unknown or repeated scale {key!r}; the scales are {names}.")
            found[int(position)] = image
        missing = [name for position, name in enumerate(names) if position not in found]
        if missing:
            raise ValueError(f"no image for {', '.join(missing)}; the scales are {names}.")
        shapes = {tuple(image.shape) for image in found.values()}
        if len(shapes) > 1:
            raise ValueError(f"images of all scales must have one full-resolution shape: {shapes}.")
        return [found[position] for position in range(len(names))]

    def extra_repr(self) -> str:
        """Factors and method, for printing."""
        return f"scales={self.scales}, method={self.method!r}"
