"""One lazy registry for backbones, datasets, attacks and measures.

Names map to `module:attribute` targets; nothing is imported before somebody asks for it. Third
parties join through entry points (`bench.backbones`, ...) or by `module:attribute` in a suite.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata

from bench.errors import BenchError, UnknownNameError, did_you_mean
from bench.foreign import contained


@dataclass(frozen=True, slots=True)
class Entry:
    """One plugin: where it is, and one line on what it is (empty for third parties)."""

    name: str
    target: str
    summary: str = ""
    source: str = "built in"


@dataclass(frozen=True, slots=True)
class Row:
    """What `list` shows of a plugin: the entry, its summary or why it does not import."""

    entry: Entry
    summary: str
    error: str | None = None


class Registry:
    """Plugins of one kind: built-in ones, entry points of `bench.<kind>s`, and explicit targets."""

    def __init__(self, kind: str, builtin: Mapping[str, tuple[str, str]]) -> None:
        self.kind = kind
        self._builtin = {
            name: Entry(name, target, summary) for name, (target, summary) in builtin.items()
        }

    @property
    def group(self) -> str:
        """The entry-point group third parties register in."""
        return f"bench.{self.kind}s"

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """All registered plugins by name; a built-in name cannot be taken over."""
        found = dict(self._builtin)
        for point in metadata.entry_points(group=self.group):
            source = point.dist.name if point.dist else "entry point"
            target = point.value.partition("[")[0].strip()  # `[extras]` are for installers
            found.setdefault(point.name, Entry(point.name, target, source=source))
        return found

    def find(self, name: str) -> Entry:
        """Return the entry of a registered name or of an explicit `module:attribute`.

        Raises:
            UnknownNameError: neither; the message offers the nearest name.
        """
        if name in self._builtin:
            return self._builtin[name]
        if name in self.entries:
            return self.entries[name]
        if is_target(name):
            return Entry(name, name, source="module:attribute")
        raise UnknownNameError(f"unknown {self.kind} '{name}'{did_you_mean(name, self.entries)}")

    def load(self, name: str) -> object:
        """Import and return the plugin.

        Raises:
            UnknownNameError: no such name.
            BenchError: the plugin does not import; the message says why.
        """
        entry = self.find(name)
        try:
            return load_target(entry.target)
        except (Exception, SystemExit) as error:
            where = "" if entry.target == name else f" ({entry.target})"
            text = f"{self.kind} '{name}'{where} does not import: {one_line(error)}"
            raise BenchError(text) from error

    def rows(self) -> Iterator[Row]:
        """Yield every plugin, sorted; third-party ones are imported to see whether they can be."""
        for _, entry in sorted(self.entries.items()):
            if entry.source == "built in":
                yield Row(entry, entry.summary)
                continue
            try:
                plugin = self.load(entry.name)
            except BenchError as error:
                yield Row(entry, "", str(error))
            else:
                yield Row(entry, _summary(plugin))


def is_target(name: str) -> bool:
    """Whether `name` has the form `package.module:attribute` (dotted identifiers)."""
    module, colon, attribute = name.partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    return bool(colon) and all(part.isidentifier() for part in parts)


def look_here_too() -> None:
    """Have modules in the current directory found, as `python -m bench` does and `bench` not."""
    cwd = os.getcwd()
    if cwd not in sys.path and "" not in sys.path:
        sys.path.insert(0, cwd)


def load_target(target: str) -> object:
    """Import `module:attribute`; modules in the current directory are found too."""
    module_name, _, attribute = target.partition(":")
    look_here_too()
    with contained():
        found: object = importlib.import_module(module_name)
    for part in attribute.split(".") if attribute else ():
        found = getattr(found, part)
    return found


def _summary(plugin: object) -> str:
    """The first line of a plugin's own docstring; of a declaration, that of what it declares."""
    if not (isinstance(plugin, type) or hasattr(plugin, "__name__")):
        # An instance shows its class's docstring, which says nothing about this one.
        plugin = getattr(plugin, "run", None) or getattr(plugin, "load", None)
    doc = getattr(plugin, "__doc__", None)
    lines = doc.strip().splitlines() if isinstance(doc, str) else []
    return lines[0] if lines else ""


def one_line(error: BaseException) -> str:
    """`ClassName: first line of the message`, for tables and one-line errors."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
