"""What suites beside this one have: a file of claims may be shared with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bench.errors import BenchError
from bench.suite.load import shipped_suites
from bench.suite.schema import AttackRef, BackboneRef, MeasureRef
from bench.suite.yaml_tree import read

M = TypeVar("M", bound=BaseModel)

_MOST = 200  # files looked at in a folder
_LARGEST = 100_000  # bytes; what is larger is hardly a suite


@dataclass(frozen=True, slots=True)
class OtherSuites:
    """Labels and names of backbones, labels of attacks, and names of measures that are
    called by `module:attribute`."""

    backbones: frozenset[str]
    attacks: frozenset[str]
    measures: frozenset[str]


def other_suites(folders: Iterable[Path]) -> OtherSuites:
    """All that the shipped suites and those in some folders name, as far as they can be read."""
    backbones: set[str] = set()
    attacks: set[str] = set()
    measures: set[str] = set()
    for data in _suites(folders):
        for backbone in _items(data.get("backbones"), BackboneRef):
            backbones |= {backbone.label, backbone.name}
        for measure in _items(data.get("measures"), MeasureRef):
            if ":" in measure.name:
                measures.add(measure.name.rpartition(":")[2])
            listed = _items(measure.options.get("attacks"), AttackRef)
            attacks |= {attack.label for attack in listed}
    return OtherSuites(frozenset(backbones), frozenset(attacks), frozenset(measures))


def _suites(folders: Iterable[Path]) -> Iterator[dict[str, Any]]:
    paths = list(shipped_suites().values())
    for folder in dict.fromkeys(folders):
        paths += sorted(path for path in folder.glob("*.y*ml") if path.is_file())[:_MOST]
    for path in dict.fromkeys(paths):
        try:
            data = read(path).data if path.stat().st_size < _LARGEST else None
        except (BenchError, OSError):
            continue
        if isinstance(data, dict):
            yield data


def _items(raw: object, model: type[M]) -> Iterator[M]:
    for item in raw if isinstance(raw, list) else []:
        try:
            yield model.model_validate(item)
        except ValidationError:
            continue
