"""What networks cost beyond the board's columns: latency, other batches, memory, energy.

The board has one figure for each kind of cost; the spread of timings, their tails and what other
batches give stand in one table here, with the modes as lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from leaderboard.blocks import Block, Cell, Grid, Heading, Text
from leaderboard.numbers.batches import asked_batch
from leaderboard.numbers.summary import Summary, by_seed, summarize
from leaderboard.quantity import show, three_digits
from leaderboard.results import MetricInfo, Results
from leaderboard.text import one_line, said

_FURTHER = re.compile(r"images_per_second\[(.+)\]")
_LARGEST = "largest"
_DEFAULT = "fp32"  # the mode that has no name of its own
_IQR = " [IQR]"
_ON_THE_BOARD = {"images_per_second"}
_WIDEST = 6  # columns that a page shows without scrolling: most have two numbers in a cell
_MILLISECONDS = MetricInfo("", "ms", "lower")
_JOULES = MetricInfo("", "J per image", "lower")
_SPEED = MetricInfo("", "images/s", "higher", scale="si")
_BYTES = MetricInfo("", "B", "lower", scale="bytes")
_IMAGES = MetricInfo("", "images", "higher", decimals=0)
_SPEEDS = (_MILLISECONDS, _SPEED, _IMAGES)

Seeds = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class _Part:
    """One figure of a cell: its metric, its name in the heading where a cell has several, the
    metrics of its interquartile range and of its batch."""

    metric: str
    name: str = ""
    iqr: str = ""
    batch: str = ""


@dataclass(frozen=True, slots=True)
class _Column:
    """Figures that share a column. `batch` is what their batch is to be (None: unknown, or told
    elsewhere); `note` says what they are."""

    title: str
    ending: str
    info: MetricInfo
    parts: tuple[_Part, ...]
    note: str = ""
    batch: float | None = None

    @property
    def metrics(self) -> frozenset[str]:
        """What makes a line worth having."""
        return frozenset(part.metric for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Line:
    """A network in a mode, and its figures by metric, then seed."""

    backbone: str
    variant: str
    mode: str
    figures: Mapping[str, Seeds]

    @property
    def seeds(self) -> int:
        """How many gave a figure."""
        return max(map(len, self.figures.values()))


def cost_blocks(results: Results, dataset: str) -> Iterator[Block]:
    """Heading, table and how to read it; nothing where there is no more than the board has."""
    lines, asked = _lines(results, dataset), asked_batch(results, dataset)
    columns = _known(_columns(lines, asked), lines)
    every = {metric for line in lines for metric in line.figures}
    beyond = {"images_per_second_iqr", *(m for c in columns for m in c.metrics)} - _ON_THE_BOARD
    if not beyond & every:
        return
    lines = [line for line in lines if any(c.metrics & line.figures.keys() for c in columns)]
    yield Heading(3, "Cost in detail")
    for caption, some in _parts(columns):
        yield _grid(caption, lines, some, every)
    yield Text(_legend(lines, columns, asked, every))


def _parts(columns: Sequence[_Column]) -> Iterator[tuple[str, Sequence[_Column]]]:
    """Captions and columns: one table where that fits a page, else one of speed and another."""
    caption = "Cost in detail"
    if len(columns) <= _WIDEST:
        yield caption, columns
        return
    for title, some in (
        ("speed", [column for column in columns if column.info in _SPEEDS]),
        ("memory and energy", [column for column in columns if column.info not in _SPEEDS]),
    ):
        parts = -(-len(some) // _WIDEST)
        for part in range(parts):
            start, end = (len(some) * cut // parts for cut in (part, part + 1))
            number = f" ({part + 1} of {parts})" if parts > 1 else ""
            yield f"{caption}: {title}{number}", some[start:end]


def _grid(
    caption: str, lines: Sequence[_Line], columns: Sequence[_Column], every: set[str]
) -> Grid:
    modes = any(line.mode != _DEFAULT for line in lines)
    seeds = any(line.seeds > 1 for line in lines)  # costs are measured on one, as a rule
    return Grid(
        caption,
        ("Backbone", "Variant", *(["Mode"] if modes else [])),
        (*(["Seeds (n)"] if seeds else []), *(_heading(column, every) for column in columns)),
        tuple(
            (
                *map(Cell, (line.backbone, line.variant)),
                *([Cell(line.mode)] if modes else []),
                *([Cell(str(line.seeds))] if seeds else []),
                *(_cell(line, column) for column in columns),
            )
            for line in lines
        ),
    )


def _lines(results: Results, dataset: str) -> list[_Line]:
    """In the board's order, a network's modes below each other."""
    found: dict[tuple[str, str], dict[str, dict[str, Seeds]]] = {}
    for key, seeds in by_seed(results.rows).items():
        family, _, mode = key.measure.partition("/")
        if family == "efficiency" and key.dataset == dataset:
            of = found.setdefault((key.backbone, key.variant), {})
            of.setdefault(one_line(mode) or _DEFAULT, {})[key.metric] = seeds
    place = {net: number for number, net in enumerate(results.nets)}
    nets = sorted(found, key=lambda net: place.get((dataset, *net), len(place)))
    return [_Line(*net, mode, figures) for net in nets for mode, figures in found[net].items()]


def _columns(lines: Sequence[_Line], asked: float | None) -> list[_Column]:
    """Every column that there can be, those of further batches among them."""
    main = f"Images/s at {asked:.0f}" if asked else "Images/s"
    return [
        _Column(
            "Latency", " ↓ (ms)", _MILLISECONDS, (_Part("latency", iqr="latency_iqr"),),
            "Latency is the median of passes of one image.",
        ),
        _Column(
            "Latency,", " ↓ (ms)", _MILLISECONDS,
            (_Part("latency_p95", "p95"), _Part("latency_p99", "p99")),
            "p95 and p99 are the percentiles for which there were passes enough (200 and 1,000).",
        ),
        _Column(
            main, " ↑", _SPEED,
            (_Part("images_per_second", iqr="images_per_second_iqr", batch="batch_size"),),
            "Images/s is the median over batches of so many images.", asked,
        ),
        *_further(lines),
        _Column(
            "Inference memory", " ↓", _BYTES,
            (_Part("inference_memory", batch="inference_batch_size"),),
            "Inference memory is that of tensors.", asked,
        ),
        _pair("Resident memory,", "resident", "[resident]", asked,
              "Resident memory is the peak of a process of its own, without PyTorch itself and the "
              "images."),
        _pair("Allocated memory,", "allocated", "[allocated]", asked,
              "Allocated and reserved memory are the peaks of CUDA's allocator."),
        _pair("Reserved memory,", "reserved", "[allocated]", asked, ""),
        _Column(
            "Energy", " ↓ (J per image)", _JOULES, (_Part("energy_per_image"),),
            "Energy is of the device alone.",
        ),
    ]  # fmt: skip


def _pair(title: str, kind: str, suffix: str, batch: float | None, note: str) -> _Column:
    """Memory of training and of inference."""
    parts = (
        _Part(f"{short}_memory_{kind}", name, batch=f"{short}_batch_size{suffix}")
        for short, name in (("train", "training"), ("inference", "inference"))
    )
    return _Column(title, " ↓", _BYTES, tuple(parts), note, batch)


def _further(lines: Sequence[_Line]) -> Iterator[_Column]:
    """Images/s at other batches, by rising batch; the largest comes last, after how large it is."""
    names = {m[1] for line in lines for metric in line.figures if (m := _FURTHER.fullmatch(metric))}
    for batch in sorted(int(name) for name in names if name.isdecimal()):
        yield _at(f"Images/s at {batch}", str(batch), float(batch))
    yield _Column(
        "Largest batch", " ↑", _IMAGES, (_Part("largest_batch"),),
        "The largest batch is the first of the suite's limit, half of it, a quarter … that fits "
        "into memory.",
    )  # fmt: skip
    yield _at("Images/s at the largest", _LARGEST, None)


def _at(title: str, name: str, batch: float | None) -> _Column:
    part = _Part(
        f"images_per_second[{name}]",
        iqr=f"images_per_second_iqr[{name}]",
        batch=f"batch_size[{name}]",
    )
    return _Column(title, " ↑", _SPEED, (part,), batch=batch)


def _known(columns: Sequence[_Column], lines: Sequence[_Line]) -> list[_Column]:
    """Columns and parts of which some network has the figure."""
    every = {metric for line in lines for metric in line.figures}
    left = [
        replace(column, parts=tuple(part for part in column.parts if part.metric in every))
        for column in columns
    ]
    return [column for column in left if column.parts]


def _heading(column: _Column, every: set[str]) -> str:
    names = " / ".join(part.name for part in column.parts if part.name)
    title = f"{column.title} {names}" if names else column.title
    return title + (_IQR if any(part.iqr in every for part in column.parts) else "") + column.ending


def _cell(line: _Line, column: _Column) -> Cell:
    texts = [_text(line, part, column) for part in column.parts]
    if not any(texts):
        return Cell("–", "missing")
    return Cell(" / ".join(text or "–" for text in texts))


def _text(line: _Line, part: _Part, column: _Column) -> str:
    """`515.5 [5.9]`, `3.3 k [101.2] at 16 (n = 1)`; "" where there is no such figure."""
    seeds = line.figures.get(part.metric)
    if not seeds:
        return ""
    summary = summarize([*seeds.values()])
    info = three_digits(summary.mean, column.info)
    texts = [show(summary, info).text]
    iqr = line.figures.get(part.iqr)
    if iqr:
        mean = summarize([*iqr.values()]).mean
        texts.append(f"[{show(Summary(mean, None, len(iqr)), info).text}]")
    batch = _other_batch(line, part, column)
    if batch:
        texts.append(f"at {batch:.0f}")
    if len(seeds) < line.seeds:
        texts.append(f"(n = {len(seeds)})")
    return " ".join(texts)


def _other_batch(line: _Line, part: _Part, column: _Column) -> float | None:
    """The batch of a figure, if it is not that of its column."""
    used = line.figures.get(part.batch)
    if not (used and column.batch):
        return None
    batch = min(used.values())
    return batch if batch != column.batch else None


def _legend(
    lines: Sequence[_Line], columns: Sequence[_Column], asked: float | None, every: set[str]
) -> str:
    pairs = [(column, part) for column in columns for part in column.parts]
    ranges = any(part.iqr in every for _, part in pairs)
    other = any(_other_batch(line, part, column) for line in lines for column, part in pairs)
    memory = asked and any(column.info.scale == "bytes" for column in columns)
    return said(
        *dict.fromkeys(column.note for column in columns),
        f"Memory is of batches of {asked:.0f}." if memory else "",
        "In [brackets] is the width of the interquartile range." if ranges else "",
        "A figure of another batch than its column's says which (at 16)." if other else "",
    )
