"""Which models can be inverted: the table that was measured, read without torch or timm.

``arches/support.csv`` has a row for each model of timm and torchvision, and for the paper's own
networks, in each variant. ``python -m arches.inversion.matrix`` writes it.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

from arches.backbones import VARIANTS

TABLE = Path(__file__).with_name("support.csv")

OK, NATIVE = "ok", "native size only"
UNSUPPORTED, NOT_MEASURED = "unsupported", "not measured"
STATUSES = (OK, NATIVE, UNSUPPORTED, NOT_MEASURED)

FINAL = (
    "isotropic",
    "state between stages",
    "parallel resolutions",
    "not faithful",
    "grows",
    "shared weights",
    "shared module",
)
"""Short names of the reasons that no other image size and no option would change."""


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        name: as :func:`arches.invert` (or :func:`arches.create`) takes it.
        family: module of the library that defines the model; ``paper`` for the paper's networks.
        kind: of network, such as ``conv``.
        variant: ``bu``, ``td``, ``td_uni`` or ``td_rev``.
        status: one of :data:`STATUSES`. ``native size only``: at the size of image that the model
            was made for, not at the smaller one that was tried first. ``not measured``: time or
            memory did not suffice.
        reason: why, where it is not ``ok``: a short name, a colon, and the message.
        image_size: side in pixels at which it was run forward and backward; 0 where it was not.
        parameters: over those of ``bu``; none where it was not run.
        flops: likewise.
    """

    name: str
    family: str
    kind: str
    variant: str
    status: str
    reason: str = ""
    image_size: int = 0
    parameters: float | None = None
    flops: float | None = None

    @property
    def runs(self) -> bool:
        """Whether it was run, at one size of image at least."""
        return self.status in (OK, NATIVE)

    @property
    def short_reason(self) -> str:
        """The short name of the reason; empty where it is ``ok``."""
        return self.reason.partition(":")[0]

    @property
    def is_final(self) -> bool:
        """Whether it cannot be had at any size of image, with any option."""
        return self.status == UNSUPPORTED and self.short_reason in FINAL

    def cells(self) -> list[str]:
        """Texts in the order of the columns."""
        return ["" if value is None else _text(value) for value in self]


COLUMNS = Row._fields


def _text(value: str | float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _row(given: Mapping[str, str]) -> Row:
    numbers = {key: float(given[key]) if given[key] else None for key in ("parameters", "flops")}
    return Row(
        name=given["name"],
        family=given["family"],
        kind=given["kind"],
        variant=given["variant"],
        status=given["status"],
        reason=given["reason"],
        image_size=int(given["image_size"]),
        **numbers,
    )


def read(path: Path = TABLE) -> tuple[Row, ...]:
    """Rows of a table, in its order; of several for a name and variant the last one counts.

    Raises:
        ValueError: a line that does not fit the columns; the message names it.
    """
    found: dict[tuple[str, str], Row] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        lines = csv.DictReader(stream)
        for given in lines:
            try:
                row = _row(given)
            except (KeyError, TypeError, ValueError) as error:
                place = f"{path}:{lines.line_num}"
                raise ValueError(f"{place}: not a row of {','.join(COLUMNS)}: {error}") from None
            found[row.name, row.variant] = row
    return tuple(found.values())


@cache
def table() -> dict[str, dict[str, Row]]:
    """The rows of the package's own table by name, then by variant."""
    found: dict[str, dict[str, Row]] = {}
    for row in read():
        found.setdefault(row.name, {})[row.variant] = row
    return found


def find(name: str) -> Mapping[str, Row]:
    """Rows of a model by variant; none where the table does not list it.

    A tag after a dot (``timm/resnet50.a1_in1k``) names weights and is left out.
    """
    if name.startswith("timm/"):
        name = name.partition(".")[0]
    return table().get(name, {})


def matching(pattern: str) -> dict[str, dict[str, Row]]:
    """Rows by name and variant of the names that fit a pattern, such as ``timm/resnet*``."""
    return {name: rows for name, rows in table().items() if fnmatchcase(name, pattern)}


class Share(NamedTuple):
    """How many models of a library and kind there are, and how many have each status.

    Attributes:
        home: ``timm``, ``torchvision`` or ``paper``.
        kind: of network.
        variant: one of :data:`arches.VARIANTS`.
        names: the denominator: models of that kind, in the table or not.
        counts: number of models with each of :data:`STATUSES`.
    """

    home: str
    kind: str
    variant: str
    names: int
    counts: Mapping[str, int]

    @property
    def running(self) -> int:
        """How many run, at one size of image at least."""
        return self.counts[OK] + self.counts[NATIVE]


def summary(rows: Iterable[Row], names: Iterable[tuple[str, str]] | None = None) -> list[Share]:
    """Counts by library, kind and variant.

    Args:
        rows: each name and variant once.
        names: all models there are, with their kind, as denominators; without it those of the rows.
    """
    rows = list(rows)
    given = {(row.name, row.kind) for row in rows} if names is None else set(names)
    totals = Counter((home(name), kind) for name, kind in given)
    counts = Counter((home(row.name), row.kind, row.variant, row.status) for row in rows)
    return [
        Share(*key, variant, total, {status: counts[*key, variant, status] for status in STATUSES})
        for key, total in sorted(totals.items())
        for variant in VARIANTS
    ]


def home(name: str) -> str:
    """The library of a model; ``paper`` for the paper's own networks."""
    return name.partition("/")[0] if "/" in name else "paper"


def append(path: Path, rows: Sequence[Row]) -> None:
    """Add rows to a table in one write, and its heading where it is new."""
    with path.open("ab") as stream:
        stream.write(_as_csv(rows, heading=stream.tell() == 0))
        stream.flush()
        os.fsync(stream.fileno())


def mend(path: Path) -> None:
    """Cut off the half line that a process left which ended while it wrote, if there is one."""
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def tidy(path: Path) -> None:
    """Sort a table by family, name and variant, one row each; it is replaced as a whole."""
    order = list(VARIANTS)
    rows = sorted(read(path), key=lambda row: (row.family, row.name, order.index(row.variant)))
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as stream:
            stream.write(_as_csv(rows, heading=True))
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _as_csv(rows: Iterable[Row], heading: bool) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if heading:
        writer.writerow(COLUMNS)
    writer.writerows(row.cells() for row in rows)
    return text.getvalue().encode()
