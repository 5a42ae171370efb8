"""What inversion knows about a network: its stages, as data that a person can read and edit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arches.choices import require_choice, require_count, unknown

LAYOUTS = ("nchw", "nhwc")


@dataclass(frozen=True, slots=True)
class Stage:
    """Modules that run one after the other at one resolution.

    Attributes:
        reduction: how often the side of the image is divided here.
        in_width: channels that enter.
        width: channels that leave.
        modules: paths inside the model, in order; none where a level is a merge alone.
        in_layout: order of the axes of what enters, ``nchw`` or ``nhwc``.
        out_layout: of what leaves.
    """

    reduction: int
    in_width: int
    width: int
    modules: tuple[str, ...]
    in_layout: str = "nchw"
    out_layout: str = "nchw"

    def __post_init__(self) -> None:
        object.__setattr__(self, "modules", _paths("modules", self.modules))
        for name in ("reduction", "in_width", "width"):
            require_count(name, getattr(self, name))
        for layout in (self.in_layout, self.out_layout):
            require_choice("layout", layout, LAYOUTS)


@dataclass(frozen=True, slots=True)
class Stages:
    """A network cut into stages.

    :func:`arches.stages` finds it; edited, it goes back in by ``arches.invert(..., stages=...)``.

    Attributes:
        stages: in the order of the network itself, fine to coarse.
        stem: paths of the modules that read the image; a top-down network has stems of its own.
        tail: paths of the modules between the last stage and the pooling, of which a top-down
            network keeps the norms and activations that come first, if not the whole head.
        probe_size: side in pixels of the image with which the network was read.
        split: how: ``modules`` (paths are those of the model) or ``graph`` (paths are those of the
            model's graph, cut where a single map connects its parts).
    """

    stages: tuple[Stage, ...]
    stem: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    probe_size: int = 224
    split: str = "modules"

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        for name in ("stem", "tail"):
            object.__setattr__(self, name, _paths(name, getattr(self, name)))
        require_count("probe_size", self.probe_size)
        require_choice("split", self.split, ("modules", "graph"))
        reductions = self.reductions
        if list(reductions) != sorted(set(reductions)):
            raise ValueError(f"reductions must rise from stage to stage, not {reductions}.")

    @property
    def reductions(self) -> tuple[int, ...]:
        """Reduction of each stage, fine to coarse."""
        return tuple(stage.reduction for stage in self.stages)

    @classmethod
    def parse(cls, given: Stages | Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Stages:
        """Stages from what :meth:`as_dict` made, or from a list of stages alone.

        Raises:
            ValueError: for an unknown or missing key, or a wrong value.
        """
        if isinstance(given, Stages):
            return given
        content = dict(given) if isinstance(given, Mapping) else {"stages": given}
        _require_keys(cls, content)
        listed = content.pop("stages")
        if isinstance(listed, str | Mapping) or not isinstance(listed, Sequence) or not listed:
            raise ValueError(f"stages must be a list of at least one stage, not {listed!r}.")
        stages = []
        for entry in listed:
            if not isinstance(entry, Stage):
                _require_keys(Stage, entry)
                entry = Stage(**entry)
            stages.append(entry)
        return cls(stages=tuple(stages), **content)

    def as_dict(self) -> dict[str, Any]:
        """Everything as numbers, texts, lists and dictionaries, ready for JSON or YAML."""
        content = dataclasses.asdict(self)
        for stage in content["stages"]:
            stage["modules"] = list(stage["modules"])
        return {key: list(v) if isinstance(v, tuple) else v for key, v in content.items()}

    def text(self) -> str:
        """One line for each stage, for people."""
        lines = [f"stem  {', '.join(self.stem) or '-'}"]
        for stage in self.stages:
            inside = ", ".join(stage.modules) or "a merge alone"
            layout = "" if stage.in_layout == "nchw" else f" {stage.in_layout}"
            lines.append(
                f"1/{stage.reduction:<4}{stage.in_width} -> {stage.width}{layout}  {inside}"
            )
        lines.append(f"tail  {', '.join(self.tail) or '-'}")
        return "\n".join(lines)


def in_short(paths: Sequence[str]) -> str:
    """Paths of modules in a few words: the first, and where the last differs from it."""
    if len(paths) < 2:
        return "".join(paths) or "-"
    first, last = paths[0].split("."), paths[-1].split(".")
    shared = 0
    while shared < min(len(first), len(last)) - 1 and first[shared] == last[shared]:
        shared += 1
    return f"{paths[0]} .. {'.'.join(last[shared:])}"


def _paths(name: str, value: object) -> tuple[str, ...]:
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    if not listed or not all(isinstance(path, str) for path in value):  # type: ignore[attr-defined]
        raise ValueError(f"{name} must be a list of paths of modules, not {value!r}.")
    return tuple(value)  # type: ignore[arg-type]


def _require_keys(kind: type, content: object) -> None:
    if not isinstance(content, Mapping):
        raise ValueError(f"a stage must be a mapping of its keys, not {content!r}.")
    entries = dataclasses.fields(kind)
    for key in content:
        if key not in [entry.name for entry in entries]:
            raise unknown(f"key of {kind.__name__}", key, [entry.name for entry in entries])
    for entry in entries:
        if entry.default is dataclasses.MISSING and entry.name not in content:
            raise ValueError(f"{kind.__name__} needs the key {entry.name!r}.")
