"""What a caller may change about an inversion, checked in one place."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from arches.choices import require_choice, require_count, unknown
from arches.options import DOWNSAMPLING, MERGES, UPSAMPLING

FINEST: dict[str, str] = {
    "stage": "the finest stage of the network itself",
    "2": "1/2, by merges without a stage above the finest stage",
    "1": "the full resolution, likewise",
}
"""Finest resolutions that an inverted network can end at, with one line on each."""

READINGS: dict[str, str] = {
    "mirrored": "mirrored stages, each at the width that its mirror image had",
    "baseline": "the stages in the order of the baseline, only the resolutions reversed",
}
"""Readings of ``td_rev``, with one line on each."""

INITS: dict[str, str] = {
    "fresh": "drawn anew by the rules of the model itself",
    "from_bu": "weights of the given or pretrained model where shapes survive",
}
"""Where the weights of the stages come from, with one line on each."""


@dataclass(frozen=True, slots=True)
class InvertOptions:
    """Options of :func:`arches.invert`.

    What a variant has no use for is checked and then left alone, so that one entry of a suite may
    ask for several variants.

    Attributes:
        finest: ``"stage"``, 2 or 1: the resolution of the last position.
        downsampling: how scales of the image are made, one of :data:`arches.options.DOWNSAMPLING`.
        blur_sigma: of the ``gaussian`` downsampling in pixels; half the factor where ``None``.
        upsampling: one of :data:`arches.options.UPSAMPLING`.
        merge: one of :data:`arches.options.MERGES`.
        merge_width: most channels of a merge; ``None`` is the width that the stage takes in.
        width: of every stage of ``td_uni``; ``None`` is that of the middle stage.
        reading: of ``td_rev``, one of :data:`READINGS`.
        small_stem: whether ``bu`` reads small images with a stem that neither strides nor pools.
        init: one of :data:`INITS`.
        pretrained: whether ``bu`` starts from published weights; a variant then needs
            ``init="from_bu"``.
        model: keywords for the factory of the model.
    """

    finest: str | int = "stage"
    downsampling: str = "tf"
    blur_sigma: float | None = None
    upsampling: str = "nearest"
    merge: str = "concat"
    merge_width: int | None = None
    width: int | None = None
    reading: str = "mirrored"
    small_stem: bool = False
    init: str = "fresh"
    pretrained: bool = False
    model: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_choice("finest", str(self.finest), FINEST)
        require_choice("downsampling", self.downsampling, DOWNSAMPLING)
        require_choice("upsampling", self.upsampling, UPSAMPLING)
        require_choice("merge", self.merge, MERGES)
        require_choice("reading", self.reading, READINGS)
        require_choice("init", self.init, INITS)
        for name in ("merge_width", "width"):
            if getattr(self, name) is not None:
                require_count(name, getattr(self, name))
        if self.blur_sigma is not None and not self.blur_sigma > 0:
            raise ValueError(f"blur_sigma must be above 0, not {self.blur_sigma!r}.")

    @classmethod
    def parse(cls, given: dict[str, Any]) -> InvertOptions:
        """Options from keywords; an unknown one is a ``ValueError`` that names those there are."""
        known = [entry.name for entry in fields(cls)]
        for name in given:
            if name not in known:
                raise unknown("option", name, known)
        return cls(**given)

    @property
    def finest_factor(self) -> int | None:
        """The factor of the finest resolution, or none where the finest stage decides."""
        return None if self.finest == "stage" else int(self.finest)
