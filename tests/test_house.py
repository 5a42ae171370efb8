"""The shape of the house: who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Data flows down this list, and a room imports only from itself and rooms above it.
FLOORS = (
    ("bench", "bench.errors", "leaderboard.results", "arches", "suites"),
    ("bench.registry",),
    ("bench.identity",),
    ("bench.suite",),
    ("bench.data", "bench.models"),
    ("bench.attacks", "bench.corruptions"),
    ("bench.explain",),
    ("bench.measures",),
    ("bench.plan",),
    ("bench.train", "bench.store"),
    ("bench.run",),
    ("bench.observe",),
    ("leaderboard",),
    ("bench.commands",),
    ("bench.pytest_plugin",),
    ("bench.cli",),
    ("bench.__main__",),
)


def modules(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in found if name.split(".")[0] in ("bench", "arches", "leaderboard")}


def floor(name: str) -> int:
    """The floor of the longest entry that `name` is or is in."""
    fits = [
        (len(room), number)
        for number, rooms in enumerate(FLOORS)
        for room in rooms
        if name == room or name.startswith(room + ".")
    ]
    return max(fits)[1]


@pytest.mark.parametrize("package", ["arches", "leaderboard"])
def test_side_rooms_know_nothing_of_the_rest(package: str) -> None:
    for name, path in modules(package):
        strangers = {found for found in imports(path) if not found.startswith(package)}
        assert not strangers, f"{name} imports {strangers}"


def test_imports_run_one_way() -> None:
    for name, path in modules("bench"):
        for found in imports(path):
            assert floor(found) <= floor(name), f"{name} imports {found}, which is below it"


def test_measures_do_not_reach_for_the_leaderboards_rendering() -> None:
    for name, path in modules("bench"):
        if name.startswith(("bench.commands", "bench.pytest_plugin")):
            continue
        reached = {f for f in imports(path) if f.startswith("leaderboard.")}
        assert all(f.startswith("leaderboard.results") for f in reached), name


# What is made of one another, in the order in which it is made: a room knows none that comes later.
LEADERBOARD = ("leaderboard.statistics", "leaderboard.numbers", "leaderboard.figures",
               "leaderboard.sections", "leaderboard.page", "leaderboard.html")  # fmt: skip
RUN = ("bench.run.devices", "bench.run.unit", "bench.run.processes", "bench.run.engine",
       "bench.run.cluster", "bench.run.dispatch", "bench.run.executor")  # fmt: skip


@pytest.mark.parametrize("rooms", [LEADERBOARD, RUN])
def test_rooms_know_nothing_of_later_ones(rooms: tuple[str, ...]) -> None:
    package = rooms[0].partition(".")[0]
    seen = set()
    for name, path in modules(package):
        at = next((n for n, room in enumerate(rooms) if name.startswith(room)), None)
        if at is None:
            continue
        seen.add(at)
        later = {found for found in imports(path) if found.startswith(rooms[at + 1 :])}
        assert not later, f"{name} imports {later}"
    assert len(seen) == len(rooms)


def test_rooms_are_small() -> None:
    for package in ("bench", "arches", "leaderboard"):
        for name, path in modules(package):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 320, name
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef):
                    length = (node.end_lineno or 0) - node.lineno + 1
                    assert length <= 60, f"{name}.{node.name} has {length} lines"
