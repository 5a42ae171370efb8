"""What a page consists of, the same for every output format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

State = Literal["value", "failed", "missing", "flag"]


@dataclass(frozen=True, slots=True)
class Cell:
    """What one table cell says; `best` among the values of its column and data set."""

    text: str
    state: State = "value"
    best: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; `level` 2 is a data set's."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list; each entry may begin with a term that stands out."""

    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table. The first columns, as many as `names`, name what a line is about; then come as many
    columns of numbers as `numbers`, then those of words in `remarks`."""

    caption: str
    names: tuple[str, ...]
    numbers: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]
    remarks: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn figure: file name, image bytes, text that stands in for it, caption."""

    name: str
    image: bytes
    alt: str
    caption: str


Block = Heading | Text | Bullets | Grid | Figure
