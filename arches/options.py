"""What a caller may change about a network, checked in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from arches.choices import require_choice, require_count, require_number, unknown
from arches.declaration import Norm

DOWNSAMPLING: dict[str, str] = {
    "tf": "antialiased Gaussian of the paper's networks, sigma half the factor, cut at the border",
    "gaussian": "sampled Gaussian with reflected border, then every f-th pixel",
    "noblur": "every f-th pixel, no blur",
    "pool": "f x f max-pool",
    "antialias": "max-pool at stride 1, small Gaussian, then every f-th pixel (blur-pool)",
}
"""Methods that make the scales of the image, with one line on each."""

UPSAMPLING: dict[str, str] = {
    "nearest": "each value is repeated; the paper's choice",
    "bilinear": "linear between the centres of pixels",
}
"""Methods that bring a map to the next finer resolution."""

MERGES: dict[str, str] = {
    "concat": "project, add, concatenate with the finer map, 3 x 3 convolution (paper, Figure 3)",
    "add": "project and add, nothing else",
}
"""Ways in which a coarse map and a finer one become one."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of :func:`arches.create`.

    What a variant has no use for is checked and then left alone (``bu`` has no scales, only
    ``td_uni`` has a ``width``), so that one entry of a suite may ask for several variants.

    Attributes:
        downsampling: one of :data:`DOWNSAMPLING`.
        upsampling: one of :data:`UPSAMPLING`.
        merge: one of :data:`MERGES`.
        width: the one width of ``td_uni``; ``None`` is that of the middle stage.
        dropout: probability in [0, 1); ``None`` is the family's.
        bn_momentum: weight of the new batch in the moving statistics, in (0, 1]; ``None`` is the
            family's. The plain networks' 0.01 needs some thousand steps to settle: a recipe of a
            few hundred steps should give its own, such as 0.1.
        bn_eps: added to the variance, above 0; ``None`` is the family's.
    """

    downsampling: str = "tf"
    upsampling: str = "nearest"
    merge: str = "concat"
    width: int | None = None
    dropout: float | None = None
    bn_momentum: float | None = None
    bn_eps: float | None = None

    def __post_init__(self) -> None:
        require_choice("downsampling", self.downsampling, DOWNSAMPLING)
        require_choice("upsampling", self.upsampling, UPSAMPLING)
        require_choice("merge", self.merge, MERGES)
        if self.width is not None:
            require_count("width", self.width)
        if self.dropout is not None:
            require_number("dropout", self.dropout, "in [0, 1)", lambda value: 0 <= value < 1)
        if self.bn_momentum is not None:
            require_number("bn_momentum", self.bn_momentum, "in (0, 1]", lambda v: 0 < v <= 1)
        if self.bn_eps is not None:
            require_number("bn_eps", self.bn_eps, "above 0", lambda v: v > 0)

    @classmethod
    def parse(cls, given: dict[str, Any]) -> Options:
        """Options from keywords; an unknown one is a ``ValueError`` that names those there are."""
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise unknown("option", name, known)
        return cls(**given)

    def norm(self, family: Norm) -> Norm:
        """The constants of batch normalisation: the caller's where given, else the family's."""
        return Norm(
            momentum=family.momentum if self.bn_momentum is None else self.bn_momentum,
            eps=family.eps if self.bn_eps is None else self.bn_eps,
        )
