"""What a person reads of an error that failed a cell."""

from __future__ import annotations

import importlib
import pkgutil

import bench
from bench.errors import BenchError
from bench.store.outcome import error_text


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def test_errors_of_ours_are_shown_without_their_class() -> None:
    for module in pkgutil.walk_packages(bench.__path__, "bench."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {kind.__name__ for kind in subclasses(BenchError) if kind.__module__.startswith("bench")}
    assert len(ours) > 5
    assert [error_text(name, "too large") for name in sorted(ours)] == ["too large"] * len(ours)


def test_the_class_of_another_error_tells_what_its_message_may_not() -> None:
    assert error_text("KeyError", "'lr'") == "KeyError: 'lr'"
