"""Parts of a page that take long to make, kept in a folder so that what did not change is not made
again.

A part's file is named by a hash over everything that it depends on: what the caller says, the
source of this package, and the versions of the libraries that compute and draw. So nothing is
ever out of date, and the folder may be deleted at any time. It ends with its own checksum; what is
damaged is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from leaderboard.files import write_atomic
from leaderboard.results import Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Form = Literal["png", "svg"]

_NAME = re.compile(r"[0-9a-f]{32}")
_CHECKSUM = hashlib.sha256().digest_size
_LIBRARIES = ("numpy", "scipy", "matplotlib", "pillow")


class Kept:
    """The folder; without one, every part is made anew. Figures come as `form` says."""

    def __init__(self, folder: Path | None = None, form: Form = "png") -> None:
        self._folder = folder
        self.form = form
        self._used: set[str] = set()

    def part(self, depends: Iterable[object], make: Callable[[], bytes]) -> bytes:
        """A part that depends on nothing but `depends` (and this package), read or made.

        Args:
            depends: bytes as they are; of anything else the representation counts.
            make: makes it.
        """
        if self._folder is None:
            return make()
        name = _name(depends)
        self._used.add(name)
        found = _read(self._folder / name)
        if found is None:
            found = make()
            # A run that may only be read is shown all the same.
            with contextlib.suppress(OSError):
                write_atomic(self._folder / name, hashlib.sha256(found).digest() + found)
        return found

    def figure(self, depends: Iterable[object], make: Callable[[], Figure]) -> bytes:
        """As `part`, for a figure that `make` draws."""
        return self.part((self.form, *depends), lambda: self.picture(make()))

    def picture(self, figure: Figure) -> bytes:
        """A figure as a file's bytes, not kept."""
        from leaderboard.figures.looks import png, svg

        return png(figure) if self.form == "png" else svg(figure)

    def text(self, depends: Iterable[object], make: Callable[[], str]) -> str:
        """As `part`, for text."""
        return self.part(depends, lambda: make().encode()).decode()

    def forget_others(self) -> None:
        """Remove parts that were not asked for: they belong to pages of the past."""
        if self._folder is None or not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            if path.name not in self._used and _NAME.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    path.unlink()


def fingerprint(samples: Iterable[Sample]) -> str:
    """A hash over what curves are made of: whose samples they are, L2 distances, image numbers."""
    total = hashlib.sha256()
    for one in samples:
        place = (one.dataset, one.backbone, one.variant, one.seed, one.attack, one.l2.size)
        total.update(repr((*place, one.index is None)).encode("utf-8", "backslashreplace"))
        total.update(np.ascontiguousarray(one.l2).data)
        if one.index is not None:
            total.update(np.ascontiguousarray(one.index).data)
    return total.hexdigest()


def _read(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, found = content[:_CHECKSUM], content[_CHECKSUM:]
    return found if hashlib.sha256(found).digest() == checksum else None


def _name(depends: Iterable[object]) -> str:
    total = hashlib.sha256(_code().encode())
    for one in depends:
        raw = one if isinstance(one, bytes) else repr(one).encode("utf-8", "backslashreplace")
        total.update(len(raw).to_bytes(8, "little") + raw)
    return total.hexdigest()[:32]


@cache
def _code() -> str:
    """What a part depends on beside the results."""
    total = hashlib.sha256()
    home = Path(__file__).parent
    for path in sorted(home.rglob("*.py")):
        total.update(path.relative_to(home).as_posix().encode() + path.read_bytes())
    versions = [metadata.version(name) for name in _LIBRARIES]
    return f"{total.hexdigest()} {versions}"
