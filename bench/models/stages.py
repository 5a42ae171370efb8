"""Stages of a backbone as a suite gives them: a file, or the list itself, edited or not.

`bench describe BACKBONE --stages` writes what can be read here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import arches
from bench.errors import BenchError
from bench.models import backbones

KEY = "stages"


def resolved(name: str, options: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Options of a backbone, with the stages that they name read and written out.

    What a run depends on is the content of the file, wherever it is.

    Raises:
        BenchError: there is no such file, or it holds no stages.
    """
    found = dict(options)
    if KEY in options and backbones.takes_stages(name):
        found[KEY] = read(options[KEY], base)
    return found


def read(given: object, base: Path) -> dict[str, Any]:
    """Stages as plain data, from the path of a YAML or JSON file below `base`, or from themselves.

    Raises:
        BenchError: as above.
    """
    where = KEY
    if isinstance(given, str):
        path = base / os.path.expanduser(given)
        where = str(path)
        try:
            given = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not text"
            raise BenchError(f"{where}: no stages there: {reason}") from None
        except yaml.YAMLError as error:
            raise BenchError(f"{where}: {' '.join(str(error).split())}") from None
    if not isinstance(given, Mapping | list):
        raise BenchError(f"{where}: must be a file's path or what `describe --stages` prints")
    try:
        return arches.Stages.parse(given).as_dict()
    except ValueError as error:
        raise BenchError(f"{where}: {str(error).rstrip('.')}") from None


def write(found: arches.Stages, name: str) -> str:
    """Stages as YAML that `read` understands."""
    text = yaml.safe_dump(found.as_dict(), sort_keys=False, default_flow_style=None, width=100)
    return (
        f"# Stages of {name}, fine to coarse. Edited, they go back in by `stages: FILE`\n"
        f"# beside the name of a backbone in a suite, or arches.invert(..., stages=...).\n{text}"
    )
