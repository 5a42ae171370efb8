"""What is wrong with a name or an option, found by trying, as text."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from bench.data.table import FORMATS
from bench.errors import BenchError
from bench.registry import Registry, is_target


def import_plugin(registry: Registry, name: str) -> None:
    """Import what is not ours, so that a typing mistake shows before anything is trained."""
    if registry.find(name).source != "built in":
        registry.load(name)


def scheme_hint(name: str) -> str:
    """A hint for a misspelt `imagefolder:data`, which looks like a `module:attribute`."""
    scheme, _, path = name.partition(":")
    near = get_close_matches(scheme, FORMATS, n=1) if is_target(name) else []
    return f"; did you mean '{near[0]}:{path}'?" if near and near[0] != scheme else ""


def refusal(action: Callable[[], object]) -> str | None:
    """The message of the BenchError that `action` raises, or None."""
    try:
        action()
    except BenchError as error:
        return str(error)
    return None
