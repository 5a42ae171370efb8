"""Identities: a versioned hash over only what changes a cell's result.

Not in it: the suite's name, labels, the order of anything, the device (a run directory belongs
to one kind of device), the output folder. In it: the data set with its options, the backbone
with its options and, for code that is not ours, that code; variant, seed, recipe; the measure
with its version and options. A golden test fails when an identity moves; raise VERSION then.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.registry import Entry, look_here_too

VERSION = 1
# Our own code counts by the versions of what it computes.
_OURS = ("arches", "bench", "leaderboard")
_INSTALLED = ("site-packages", "dist-packages")


def digest(*parts: object) -> str:
    """20 hex digits of SHA-256 over the canonical JSON of `parts`."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def reference_key(entry: Entry, options: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies a plugin with its options; third-party code counts by version or source."""
    key: dict[str, Any] = {"name": entry.name, "options": dict(options)}
    if entry.source != "built in":
        key["code"] = code_fingerprint(entry.target)
    return key


@cache
def code_fingerprint(target: str) -> str:
    """`name==version` of a distribution from a package index, else a hash of the source files.

    A researcher edits a backbone and runs again: that must not be taken for the same network,
    installed or not, for few raise a version on every edit. Every `.py` file of the target's
    top-level package counts (of a single module, that file), and so do the modules and packages in
    the same folder that it imports, and what those import there.

    Raises:
        BenchError: there is no such module.
    """
    top = target.partition(":")[0].partition(".")[0]
    look_here_too()
    spec = _spec(top)
    if spec is None:
        raise BenchError(f"'{target}': there is no module '{top}' (looked in sys.path)")
    places = _places(spec)
    return _release(top, [*places, spec.origin or ""]) or _sources(top, spec)


def _spec(top: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except (ValueError, ImportError):  # a module made by hand, without a specification
        return None


def _places(spec: ModuleSpec) -> tuple[str, ...]:
    return tuple(spec.submodule_search_locations or ())


def _sources(top: str, spec: ModuleSpec) -> str:
    """A hash over a module or package and all that it imports from beside it."""
    own = source_hash(spec.origin, _places(spec))
    found, left = {top: own}, [spec]
    while left:
        for name, beside in _beside(left.pop()):
            if name not in found:
                found[name] = source_hash(beside.origin, _places(beside))
                left.append(beside)
    if len(found) == 1:
        return own
    return "source:" + digest(sorted(found.items()))


def _beside(spec: ModuleSpec) -> Iterator[tuple[str, ModuleSpec]]:
    """The modules and packages that one imports from the folder it lies in; none of those that an
    installer put there."""
    home = _home(spec)
    if home is None or home.name in _INSTALLED:
        return
    names = {name for _, path in _files(spec.origin, _places(spec)) for name in _imports(path)}
    for name in sorted(names - {*_OURS}):
        other = _spec(name)
        if other is not None and _home(other) == home:
            yield name, other


def _home(spec: ModuleSpec) -> Path | None:
    """The folder that a module or package lies in; None for what has no file."""
    place = next(iter(_places(spec)), spec.origin if spec.has_location else None)
    return None if place is None else Path(place).resolve().parent


def _imports(path: Path) -> Iterator[str]:
    """The top-level names that a source imports anywhere in it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # importing it will tell
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _release(top: str, places: Iterable[str]) -> str | None:
    """Versions of the distributions that own a module; None if its code may change under them:
    installed from a folder or repository, only linked to, or not where the module is found."""
    homes = [Path(place).resolve() for place in places if place]
    if not any(_installs(Path(entry or "."), homes) for entry in sys.path):
        return None  # without reading what every distribution holds: that takes half a second
    found = []
    for name in sorted(set(metadata.packages_distributions().get(top, ()))):
        dist = metadata.distribution(name)
        root = Path(str(dist.locate_file(""))).resolve()
        if (
            dist.read_text("RECORD") is None
            or dist.read_text("direct_url.json") is not None
            or not all(home.is_relative_to(root) for home in homes)
        ):
            return None
        found.append(f"{name}=={dist.version}")
    return ", ".join(found) or None


def _installs(folder: Path, places: Iterable[Path]) -> bool:
    """Whether a folder holds all these places and any distribution that may own them."""
    root = folder.resolve()
    return all(place.is_relative_to(root) for place in places) and any(
        metadata.distributions(path=[str(folder)])
    )


def source_hash(origin: str | None, folders: tuple[str, ...]) -> str:
    """SHA-256 over the sources of a module or package, with their relative paths."""
    total = hashlib.sha256()
    for shown, path in _files(origin, folders):
        total.update(shown.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return "source:" + total.hexdigest()[:20]


def _files(origin: str | None, folders: tuple[str, ...]) -> list[tuple[Path, Path]]:
    """The sources of a module or package: what they are called there, and where they are."""
    files = [
        (path.relative_to(folder), path)
        for folder in folders
        for path in sorted(Path(folder).rglob("*.py"))
    ]
    if not files and origin and Path(origin).is_file():
        files = [(Path(Path(origin).name), Path(origin))]
    return files


@cache
def own_code() -> str:
    """A hash over the sources of the networks and the harness, for where two processes or runs
    must have them to the letter. Not part of identities."""
    root = Path(__file__).parents[1]
    return source_hash(None, tuple(str(root / name) for name in ("arches", "bench")))


@cache
def file_hash(path: Path, _stamp: tuple[int, int]) -> str:
    """SHA-256 of a file's content; `_stamp` (size, mtime) keeps the cache honest."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def hash_now(path: Path) -> str:
    """SHA-256 of a file's content as it is now.

    Raises:
        OSError: it cannot be read.
    """
    stat = path.stat()
    return file_hash(path, (stat.st_size, stat.st_mtime_ns))
