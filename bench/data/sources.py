"""Where a data set comes from: a registered factory, or a folder of own files."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast

from bench.data import options as checks
from bench.data.dataset import Dataset, DatasetInfo, DatasetPlugin, Split, checked
from bench.data.root import default_root
from bench.data.table import FORMATS, SETS, FileFormat
from bench.errors import BenchError, DataError, UnknownNameError
from bench.registry import Entry, Registry, one_line

_RESERVED = ("base", "download", "name", "root")

REGISTRY = Registry(
    "dataset",
    {name: (entry.target, entry.info.summary) for name, entry in SETS.items()}
    | {f"{scheme}:PATH": (entry.target, entry.summary) for scheme, entry in FORMATS.items()},
)


class Source(Protocol):
    """What `find` returns for any name."""

    @property
    def label(self) -> str:
        """The display name."""

    @property
    def where(self) -> str:
        """How errors name it: a folder, or the data set and its plugin."""

    def problem(self, options: Mapping[str, object]) -> str | None:
        """Say what is wrong with options or path, as far as that needs no import."""

    def info(self, options: Mapping[str, object]) -> DatasetInfo | None:
        """Return what is known before loading."""

    def missing(self, root: Path) -> str | None:
        """Say which file is not there, as far as that can be told without loading."""

    def load(self, root: Path, download: bool, options: Mapping[str, object]) -> Dataset:
        """Load it, resized if the options say so."""


def find(name: str, base: Path | None) -> Source:
    """Return the source a suite means by `name`; relative paths start from `base`.

    Raises:
        UnknownNameError: no such data set; the message offers the nearest name.
    """
    scheme, colon, path = name.partition(":")
    if colon and scheme in FORMATS:
        return OwnData(scheme, path, base or Path())
    try:
        return Registered(REGISTRY.find(name))
    except UnknownNameError:
        near = difflib.get_close_matches(scheme, FORMATS, n=1)
        if not colon or not near:
            raise
        hint = f"did you mean '{near[0]}:{path}'?"
        raise UnknownNameError(f"unknown dataset '{name}'; {hint}") from None


@dataclass(frozen=True, slots=True)
class OwnData:
    """`imagefolder:PATH` or `parquet:PATH`; a relative PATH is looked for beside the suite, then
    where data sets lie."""

    scheme: str
    text: str
    base: Path

    @property
    def path(self) -> Path:
        """The folder, its `~` expanded."""
        beside = self.base / os.path.expanduser(self.text)
        if self.text and not os.path.exists(beside):
            below = default_root() / self.text
            if os.path.isdir(below):
                return below
        return beside

    @property
    def label(self) -> str:
        """The scheme and the folder's own name."""
        return f"{self.scheme}:{os.path.basename(os.path.abspath(self.path))}"

    @property
    def where(self) -> str:
        """The folder."""
        return str(self.path)

    def problem(self, options: Mapping[str, object]) -> str | None:
        """Say what is wrong with the options, or that the folder is missing."""
        if not self.text:
            return f"a folder must follow '{self.scheme}:'"
        known = self._format.checks
        problem = checks.unknown(options, known) or checks.invalid(options, known)
        if problem or os.path.isdir(self.path):  # never raises, whatever the path looks like
            return problem
        if os.path.exists(self.path):
            return f"{self.path} is not a folder"
        return self._absent

    @property
    def _absent(self) -> str:
        """That the folder is nowhere it was looked for, and what to do."""
        text = os.path.expanduser(self.text)
        if os.path.isabs(text):
            return f"no folder {self.path}; correct the path, or put the data there"
        return (
            f"no folder {self.path} (nor {default_root() / text}); "
            f"give --data DIR, the folder that '{self.text}' lies in, or put it beside the suite"
        )

    def info(self, options: Mapping[str, object]) -> DatasetInfo | None:
        """Look at the folder; None for the placeholder `<scheme>:PATH` of `bench list`."""
        if self.text == "PATH" and not os.path.exists(self.path):
            return None
        return cast(DatasetInfo, self._call("inspect", options))

    def missing(self, root: Path) -> str | None:
        """None: that a folder is not there is a problem of the suite."""
        return None

    def load(self, root: Path, download: bool, options: Mapping[str, object]) -> Dataset:
        """Load the folder; `root` and `download` are not for own data."""
        return cast(Dataset, self._call("load", options))

    @property
    def suffixes(self) -> frozenset[str]:
        """Those of the files that are read."""
        return self._format.suffixes

    @property
    def _format(self) -> FileFormat:
        return FORMATS[self.scheme]

    def _call(self, function: str, options: Mapping[str, object]) -> object:
        problem = self.problem(options)
        if problem:
            raise DataError(problem)
        module = importlib.import_module(self._format.target)
        return _guarded(getattr(module, function), self.where, self.path, **options)


@dataclass(frozen=True, slots=True)
class Registered:
    """A built-in set, an entry point or an explicit `module:attribute`."""

    entry: Entry

    @property
    def label(self) -> str:
        """The registered name, or the attribute of `module:attribute`."""
        explicit = self.entry.name == self.entry.target
        return self.entry.target.partition(":")[2] if explicit else self.entry.name

    @property
    def where(self) -> str:
        """The name, and for an entry point its target."""
        name, target = self.entry.name, self.entry.target
        known = name in SETS or name == target
        return f"dataset '{name}'" if known else f"dataset '{name}' ({target})"

    def problem(self, options: Mapping[str, object]) -> str | None:
        """Say what is wrong with the options; those of third parties are checked by `load`."""
        if self.entry.name in SETS:
            known = SETS[self.entry.name].checks
            return checks.unknown(options, known) or checks.invalid(options, known)
        reserved = next((key for key in options if key in _RESERVED), None)
        if reserved:
            return f"option '{reserved}' is not for a suite to set"
        return checks.invalid(options, checks.COMMON)

    def info(self, options: Mapping[str, object]) -> DatasetInfo | None:
        """Return the table's entry or what the plugin states."""
        if self.entry.name in SETS:
            return SETS[self.entry.name].info
        plugin = self._plugin()
        return plugin.info if isinstance(plugin, DatasetPlugin) else None

    def missing(self, root: Path) -> str | None:
        """Say which file of a built-in set is not there; of others only loading tells."""
        if self.entry.name not in SETS or not SETS[self.entry.name].info.download_mb:
            return None
        from bench.data import torchvision_sets

        error = torchvision_sets.missing(self.entry.name, root)
        return None if error is None else str(error)

    def load(self, root: Path, download: bool, options: Mapping[str, object]) -> Dataset:
        """Call the factory; resize for those that do not take `image_size` themselves."""
        plugin = self._plugin()
        factory = plugin.load if isinstance(plugin, DatasetPlugin) else plugin
        if not callable(factory):
            raise DataError(f"{self.where}: a {type(plugin).__name__} is no data-set factory")
        named, takes_any = _own_options(factory)
        problem = None if takes_any else checks.unknown(options, {*named, "image_size"})
        if problem:
            raise DataError(f"{self.where}: {problem}")
        own = dict(options)
        side = None if "image_size" in named else own.pop("image_size", None)
        dataset = _guarded(factory, self.where, root, download=download, **own)
        if not isinstance(dataset, Dataset):
            raise DataError(f"{self.where}: returned {type(dataset).__name__}, not a Dataset")
        return _resized(checked(dataset, self.where), side) if isinstance(side, int) else dataset

    def _plugin(self) -> object:
        """What is registered, and if it states facts, they are facts."""
        plugin = REGISTRY.load(self.entry.name)
        if isinstance(plugin, DatasetPlugin) and not isinstance(plugin.info, DatasetInfo | None):
            kind = type(plugin.info).__name__
            raise DataError(f"{self.where}: its info is a {kind}, not a DatasetInfo")
        return plugin


def _own_options(factory: Callable[..., object]) -> tuple[set[str], bool]:
    """Return the options a factory names, and whether it takes any others (`**options`)."""
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):  # some callables of C extensions have no signature
        return set(), True
    named = {each.name for each in parameters[1:] if each.kind is not each.VAR_KEYWORD}
    return named - {"download"}, any(each.kind is each.VAR_KEYWORD for each in parameters)


def _guarded(
    function: Callable[..., object], where: str, *arguments: object, **options: object
) -> object:
    """Call; whatever goes wrong becomes one line that names the data set."""
    try:
        return function(*arguments, **options)
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(f"{where}: loading failed: {one_line(error)}") from error


def _resized(dataset: Dataset, side: int) -> Dataset:
    import torch

    from bench.data import pixels
    from bench.data.objects import resized_objects

    def resize(split: Split) -> Split:
        images = torch.from_numpy(pixels.resized(split.images.numpy(), side))
        return resized_objects(replace(split, images=images, file=None), split.images.shape[2:])

    return replace(dataset, train=resize(dataset.train), test=resize(dataset.test))
